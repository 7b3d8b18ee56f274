-- why: whose an event without a user is was told by each query for itself, with two joins each.
-- blocking: no

-- Which user a visitor is, and from when on: from 30 days before the first word about it, then from
-- each word on the user that it names. So an event that says no user is that of the last row before
-- it: ASOF JOIN by anonymous_id, timestamp >= known_from. Asked for one project, it reads that
-- project's identities, once. Source: sessions.md, section 7.
CREATE VIEW IF NOT EXISTS visitor_users AS
SELECT
    project_id,
    anonymous_id,
    word.1 AS known_from,
    word.2 AS user_id
FROM (
    SELECT
        project_id,
        anonymous_id,
        arraySort(groupArray((linked_at, said))) AS words
    FROM (
        SELECT
            project_id,
            anonymous_id,
            linked_at,
            argMax(user_id, event_id) AS said
        FROM identities
        GROUP BY project_id, anonymous_id, linked_at
    )
    GROUP BY project_id, anonymous_id
)
ARRAY JOIN arrayPushFront(words, (words[1].1 - toIntervalDay(30), words[1].2)) AS word;
