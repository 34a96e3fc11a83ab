-- Windows that had ended before there were soaking and backfilling are over: what is left of them needs no notice.
INSERT INTO events (seq, at, who, kind, window_id, evidence)
SELECT (SELECT last_event FROM meta) + row_number() OVER (ORDER BY max(events.seq)),
       max(events.at), 'companion', 'closed', windows.id, 'null'
FROM windows JOIN events ON events.window_id = windows.id
WHERE NOT windows.open
GROUP BY windows.id
HAVING NOT bool_or(events.kind = 'cancelled');

UPDATE meta SET last_event = greatest(last_event, (SELECT coalesce(max(seq), 0) FROM events));
