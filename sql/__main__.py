"""Write snapshot/*.sql anew: apply all migrations to servers of its own and describe the result.

Run it after adding a migration, review the difference and commit both.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from sql.migrate import migrate_up, write_snapshots
from standalone.stack import Stack


def main() -> None:
    """Start the servers in a temporary directory, migrate, write, stop."""
    with tempfile.TemporaryDirectory() as directory, Stack(Path(directory), ports={}) as stack:
        urls = (stack.urls["DATABASE_URL"], stack.urls["CLICKHOUSE_URL"])
        migrate_up(*urls)
        for path in write_snapshots(*urls):
            print(path.relative_to(Path.cwd()))


if __name__ == "__main__":
    main()
