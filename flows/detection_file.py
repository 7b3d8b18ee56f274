"""What an installation sets about the detectors of all its projects: a file of JSON.

In: the file's name. Out: a section of settings, of the form of a project's `insights`, over which
projects set what they want otherwise. Read once; a bad one keeps a process from starting, for it
would count for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from connectors.settings import SettingsError
from schemas.detection_settings import parse_detection
from schemas.settings_checks import Problems


def load_detection_file(name: str) -> Mapping[str, Any]:
    """The section; empty if no file is named.

    Raises:
        SettingsError: there is no such file, it is no JSON object, or something in it is wrong.
    """
    if not name:
        return {}
    try:
        section = msgspec.json.decode(Path(name).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise SettingsError(f"DETECTION_FILE: {name}: {error}") from None
    problems: Problems = []
    parse_detection(section, problems)
    if problems:
        raise SettingsError(f"DETECTION_FILE: {name}: {'; '.join(problems)}")
    return section
