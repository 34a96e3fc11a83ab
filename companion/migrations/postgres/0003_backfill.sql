-- Whether the backfill is paused is what the last of these says; so that it is found without reading the whole log.
CREATE INDEX events_backfill ON events (seq) WHERE kind IN ('backfill-paused', 'backfill-resumed');
