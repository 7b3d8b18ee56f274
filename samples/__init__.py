"""Sample data for the demonstration and the tests: recorded traffic, labelled scenes, places.

Nothing here belongs to a real person: see README.md in this folder for where the data comes from.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).resolve().parent

TRAFFIC = _FOLDER / "traffic" / "batches.ndjson.gz"
GEO_DATABASE = _FOLDER / "geo" / "geo-demo.mmdb"


def scene_files() -> list[Path]:
    """The recorded scenes in order of their names, one gzip file of requests each."""
    return sorted((_FOLDER / "scenes").glob("*.ndjson.gz"))
