-- One row of facts about the database itself. Whoever changes windows or appends events holds its lock, so that
-- changes of several companions come one after the other.
CREATE TABLE meta (
    one_row       boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    -- The version of the snapshot last published; it never goes back.
    version       bigint NOT NULL,
    -- Counts the changes that a companion has to read again.
    revision      bigint NOT NULL,
    -- The place of the latest event in the log.
    last_event    bigint NOT NULL,
    -- Digest of the configured part of that snapshot, and that part itself, JSON.
    config_digest text NOT NULL,
    config        text NOT NULL
);

INSERT INTO meta (version, revision, last_event, config_digest, config) VALUES (0, 0, 0, '', '');

CREATE TABLE windows (
    id        text COLLATE "C" PRIMARY KEY,
    issued_at bigint NOT NULL,
    open      boolean NOT NULL,
    -- The window as it is now, JSON. How it came to be so is told by its events.
    record    text NOT NULL
);

CREATE INDEX windows_open ON windows (issued_at) WHERE open;
CREATE INDEX windows_issued_at ON windows (issued_at);

CREATE TABLE events (
    seq       bigint PRIMARY KEY,
    at        bigint NOT NULL,
    who       text NOT NULL,
    kind      text NOT NULL,
    window_id text COLLATE "C" REFERENCES windows (id),
    evidence  text NOT NULL
);

CREATE INDEX events_window ON events (window_id, seq);

-- What happened is not rewritten.
CREATE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'events are append-only'; END $$;
CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only();

CREATE TABLE fleet (
    id        text COLLATE "C" NOT NULL,
    instance  text COLLATE "C" NOT NULL,
    last_seen bigint NOT NULL,
    -- The enforcer as it last reported to any companion, JSON.
    record    text NOT NULL,
    PRIMARY KEY (id, instance)
);
