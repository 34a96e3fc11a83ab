-- Writes accepted while frozen. What is sent is in intent_payloads, so that changes of state stay small.
CREATE TABLE intents (
    -- The order of acceptance; never given twice.
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,
    surface         TEXT NOT NULL,
    -- As the enforcer named it: no reference, for the promise to the client does not hang on it.
    window_id       TEXT NOT NULL,
    enforcer        TEXT NOT NULL,
    tenant          TEXT NOT NULL,
    key             TEXT NOT NULL,
    fingerprint     BLOB NOT NULL CHECK (length(fingerprint) = 32),
    line            TEXT NOT NULL,
    method          TEXT NOT NULL,
    path            TEXT NOT NULL,
    size_bytes      INTEGER NOT NULL,
    received_at     INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('held', 'replaying', 'done', 'failed', 'discarded')),
    -- It failed without an answer, so that its line waits for an operator.
    stops_line      INTEGER NOT NULL CHECK (stops_line IN (0, 1)),
    -- Its line waits for it: it is held, replaying, or stops the line.
    open            INTEGER NOT NULL CHECK (open = (state IN ('held', 'replaying') OR stops_line = 1)),
    attempts        INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    -- When it may be claimed. Only the one of a line whose turn it is has this; while it is replaying, it is
    -- the end of its claim's lease.
    due             INTEGER CHECK (due IS NULL OR state IN ('held', 'replaying')),
    -- Who claimed it, while it is replaying.
    owner           TEXT CHECK ((owner IS NOT NULL) = (state = 'replaying')),
    updated_at      INTEGER NOT NULL,
    -- JSON
    outcome         TEXT
) STRICT;

CREATE UNIQUE INDEX intents_key ON intents (surface, tenant, key);
CREATE INDEX intents_line ON intents (surface, line, seq) WHERE open = 1;
-- One of a line at a time.
CREATE UNIQUE INDEX intents_turn ON intents (surface, line) WHERE due IS NOT NULL;
CREATE INDEX intents_due ON intents (window_id, due, seq) WHERE due IS NOT NULL;
-- With the bytes, so that adding them up does not touch the table.
CREATE INDEX intents_state ON intents (state, surface, seq, size_bytes);
CREATE INDEX intents_over ON intents (updated_at) WHERE state IN ('done', 'discarded');

CREATE TABLE intent_payloads (
    seq       INTEGER PRIMARY KEY,
    -- Names the key that head and body are sealed with; null if they are not.
    sealed_by TEXT,
    head      BLOB NOT NULL,
    body      BLOB NOT NULL
) STRICT;
