-- What others are told: a row for each event that a notifier is told of, written with the event.
CREATE TABLE deliveries (
    id           TEXT PRIMARY KEY,
    event_seq    INTEGER NOT NULL REFERENCES events (seq),
    window_id    TEXT NOT NULL REFERENCES windows (id),
    -- By its name in the configuration.
    notifier     TEXT NOT NULL,
    kind         TEXT NOT NULL,
    step         TEXT NOT NULL,
    -- What is said, JSON. It holds no secret.
    payload      TEXT NOT NULL,
    state        TEXT NOT NULL,
    attempts     INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    -- From when on its deadline counts: when it was written, or an operator had it sent again.
    since        INTEGER NOT NULL,
    -- While it is pending, when it is tried next.
    next_at      INTEGER NOT NULL,
    last_status  INTEGER,
    note         TEXT,
    -- What the other side calls the window.
    external_id  TEXT,
    -- When it was known what became of it.
    done_at      INTEGER,
    -- Nobody is told of one event twice.
    UNIQUE (notifier, event_seq)
) STRICT;

CREATE INDEX deliveries_pending ON deliveries (notifier, window_id, event_seq) WHERE state = 'pending';
CREATE INDEX deliveries_window ON deliveries (window_id, notifier, event_seq);
CREATE INDEX deliveries_done ON deliveries (done_at) WHERE done_at IS NOT NULL;
