"""The recorded scenes: real browser sessions with labels.

See tests/scenes/README.md, and tests/more_scenes/README.md for those of other sites. Names are
unique over both.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

SCENES = Path(__file__).parent / "scenes"
MORE_SCENES = Path(__file__).parent / "more_scenes"
BATCH_DEFAULTS = ("session_id", "user_id", "anonymous_id", "device", "page", "custom")


def scene_names(folder: Path = SCENES) -> list[str]:
    """Names of all scenes of a folder, in order."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def scene_folder(name: str) -> Path:
    """Where a scene's files are."""
    found = SCENES / name
    return found if found.is_dir() else MORE_SCENES / name


def read_scene(name: str, ends_at_ms: int) -> list[dict[str, Any]]:
    """The requests of a scene, all times shifted by one constant so that it ends then.

    Each is `{"received_at_ms", "client_ip", "user_agent", "batch"}` in order of arrival.
    """
    text = gzip.decompress((scene_folder(name) / "batches.ndjson.gz").read_bytes()).decode()
    requests = [json.loads(line) for line in text.splitlines()]
    last_ms = max(
        max(
            request["received_at_ms"], *(event["timestamp"] for event in request["batch"]["events"])
        )
        for request in requests
    )
    for request in requests:
        for event in request["batch"]["events"]:
            event["timestamp"] += ends_at_ms - last_ms
    return requests


def whole_events(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a request with what the batch says for all of them filled in."""
    batch = request["batch"]
    shared = {key: batch[key] for key in BATCH_DEFAULTS if key in batch}
    return [{**shared, **event} for event in batch["events"]]
