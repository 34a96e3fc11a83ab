-- One row of facts about the database itself.
CREATE TABLE meta (
    only          INTEGER PRIMARY KEY CHECK (only = 1),
    -- The version of the snapshot last published; it never goes back.
    version       INTEGER NOT NULL,
    -- Digest of the configured part of that snapshot.
    config_digest TEXT NOT NULL
) STRICT;

INSERT INTO meta (only, version, config_digest) VALUES (1, 0, '');

CREATE TABLE windows (
    id        TEXT PRIMARY KEY,
    issued_at INTEGER NOT NULL,
    open      INTEGER NOT NULL CHECK (open IN (0, 1)),
    -- The window as it is now, JSON. How it came to be so is told by its events.
    record    TEXT NOT NULL
) STRICT;

CREATE INDEX windows_open ON windows (issued_at) WHERE open = 1;
CREATE INDEX windows_issued_at ON windows (issued_at);

CREATE TABLE events (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    who       TEXT NOT NULL,
    kind      TEXT NOT NULL,
    window_id TEXT REFERENCES windows (id),
    evidence  TEXT NOT NULL
) STRICT;

CREATE INDEX events_window ON events (window_id, seq);

-- What happened is not rewritten.
CREATE TRIGGER events_are_not_updated BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

CREATE TABLE fleet (
    id        TEXT NOT NULL,
    instance  TEXT NOT NULL,
    last_seen INTEGER NOT NULL,
    -- The enforcer as it last reported, JSON.
    record    TEXT NOT NULL,
    PRIMARY KEY (id, instance)
) STRICT;
