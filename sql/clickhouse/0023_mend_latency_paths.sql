-- why: `path()` takes the first part of a relative address for a host: `api/items` and `admin/items`
--      were one endpoint, and an address that is a host alone had no path at all.
-- blocking: no

-- A plain view: what is stored stays as it is and is read anew. `path` is that of the request, without
-- query and fragment; what has neither a host nor a slash in front is taken from the root. A status of 0
-- is a request that got no answer. Source: sessions.md, section 4.
DROP VIEW IF EXISTS latency_metrics;

CREATE VIEW IF NOT EXISTS latency_metrics AS
WITH cutQueryStringAndFragment(JSONExtractString(payload, 'url')) AS address
SELECT
    project_id,
    session_id,
    event_id,
    event_date,
    timestamp AS requested_at,
    upper(JSONExtractString(payload, 'method')) AS method,
    if(
        -- Its first slash is in front or that of `://`.
        startsWith(address, '/') OR position(address, '/') = position(address, '://') + 1,
        if(path(address) = '', '/', path(address)),
        concat('/', address)
    ) AS path,
    JSONExtractUInt(payload, 'duration_ms') AS latency_ms,
    JSONExtractUInt(payload, 'status') AS status
FROM events FINAL
WHERE event_type IN ('xhr_request', 'fetch_request');
