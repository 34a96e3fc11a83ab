-- Windows that had ended before there were soaking and backfilling are over: what is left of them needs no notice.
INSERT INTO events (at, who, kind, window_id, evidence)
SELECT max(events.at), 'companion', 'closed', windows.id, 'null'
FROM windows JOIN events ON events.window_id = windows.id
WHERE windows.open = 0
GROUP BY windows.id
HAVING sum(events.kind = 'cancelled') = 0
ORDER BY max(events.seq);
