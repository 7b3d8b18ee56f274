"""What a transport hands to the handler, and what it gets back to translate.

One pair of shapes for HTTP, gRPC-Web and gRPC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from ingest_gateway.errors import ErrorKind


class BodyForm(Enum):
    """How a body is written. UNKNOWN: its first byte tells."""

    PROTOBUF = "protobuf"
    JSON = "json"
    UNKNOWN = "unknown"


class Sender(NamedTuple):
    """Who sends, as far as the connection and the headers tell; lives in memory only."""

    presented_key: str = ""  # From the header, the metadata or the query; empty: in the body.
    origin: str | None = None
    address: str = ""  # In full: it must be masked before it goes anywhere.
    user_agent: str = ""
    dnt: str = ""
    gpc: str = ""


@dataclass(slots=True)
class IngestRequest:
    """One batch or replay chunk as it came. `encoding` is a result of `unpack.encoding_name`."""

    body: bytes
    form: BodyForm
    encoding: str
    sender: Sender
    received_at_ms: int


class Refused(NamedTuple):
    """One event that did not get in; `place` counts in the batch, from 0."""

    place: int
    event_id: str
    reason: str


@dataclass(slots=True)
class IngestResult:
    """The answer: either `error` (nothing was taken) or the counts of a batch that was taken.

    `form` is the form of the request's body, for the answer to be written alike.
    """

    form: BodyForm
    error: ErrorKind | None = None
    retry_after_s: float | None = None
    accepted: int = 0
    refused: list[Refused] = field(default_factory=list)
    refused_count: int = 0  # Beyond the list where one refusal stands for many events.
    ignored: Sequence[str] = ()  # Where JSON has names that nothing reads; told in JSON alone.

    @property
    def error_text(self) -> str | None:
        """The text of the field `error`: the error, else the first reason, else None."""
        if self.error is not None:
            return self.error.value
        return self.refused[0].reason if self.refused else None
