-- What recurs: of each plan its rule and how far its occurrences are decided, JSON. What became of them is told by events.
CREATE TABLE plans (
    id     TEXT PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;
