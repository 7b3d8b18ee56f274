-- All tables and views of the database, and whether their rows say of which project they are.
SELECT
    currentDatabase() AS database_name,
    name AS table_name,
    has(
        (
            SELECT groupUniqArray(table)
            FROM system.columns
            WHERE database = currentDatabase() AND name = {column:String}
        ),
        name
    ) AS has_project
FROM system.tables
WHERE database = currentDatabase()
