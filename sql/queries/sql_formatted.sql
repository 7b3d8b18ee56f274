-- The text of somebody's query as ClickHouse itself would write it; an error unless it is just one.
-- The value is put in by the client (its percent style), because a query may not fit into a URL.
SELECT formatQuery(%(text)s) AS formatted
