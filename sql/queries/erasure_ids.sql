-- What one request has found, of one kind.
SELECT DISTINCT id
FROM erasing_ids
WHERE request_id = toUUID({request_id:String}) AND kind = {kind:String}
ORDER BY id
