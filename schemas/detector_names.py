"""What a detector may be called: a type of insight, on the wire, in tables and in queries.

Shared by whoever loads detectors and whoever lets insights be asked for by their type. Pure.
"""

from __future__ import annotations

import re

NAME_LENGTH_MAX = 40
NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
