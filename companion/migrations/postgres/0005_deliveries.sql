-- What others are told: a row for each event that a notifier is told of, written with the event.
CREATE TABLE deliveries (
    id           text COLLATE "C" PRIMARY KEY,
    event_seq    bigint NOT NULL REFERENCES events (seq),
    window_id    text COLLATE "C" NOT NULL REFERENCES windows (id),
    -- By its name in the configuration.
    notifier     text COLLATE "C" NOT NULL,
    kind         text NOT NULL,
    step         text NOT NULL,
    -- What is said, JSON. It holds no secret.
    payload      text NOT NULL,
    state        text NOT NULL,
    attempts     bigint NOT NULL DEFAULT 0,
    created_at   bigint NOT NULL,
    -- From when on its deadline counts: when it was written, or an operator had it sent again.
    since        bigint NOT NULL,
    -- While it is pending, when it is tried next.
    next_at      bigint NOT NULL,
    last_status  bigint,
    note         text,
    -- What the other side calls the window.
    external_id  text,
    -- When it was known what became of it.
    done_at      bigint,
    -- Nobody is told of one event twice.
    UNIQUE (notifier, event_seq)
);

CREATE INDEX deliveries_pending ON deliveries (notifier, window_id, event_seq) WHERE state = 'pending';
CREATE INDEX deliveries_window ON deliveries (window_id, notifier, event_seq);
CREATE INDEX deliveries_done ON deliveries (done_at) WHERE done_at IS NOT NULL;
