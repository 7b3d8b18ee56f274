"""What is said on the WebSocket: the messages of clients as models, ours as JSON.

In: texts of clients. Out: messages, or a `MessageError`. A message of ours is an object with
`type`, maybe `id` or `position`, and `data`. Pure. Source: api.md, section 8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal, NamedTuple, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from api.auth_tokens import TOKEN_CHARS_MAX

MESSAGE_BYTES_MAX = 4 * 1024
_NO_STREAM = "x"
_ENCODER = msgspec.json.Encoder()
_ID = re.compile(r"(\d{13})-([a-z])(\d{1,5})-(\d{1,19})-(\d{1,5})")


class Channel(StrEnum):
    """What a client may subscribe to."""

    SESSIONS = "sessions"
    EVENTS = "events"
    INSIGHTS = "insights"
    ALERTS = "alerts"
    VISITORS = "visitors"
    METRICS = "metrics"


# Their messages have ids: what was missed of them can be asked for.
STREAMS = (Channel.SESSIONS, Channel.EVENTS, Channel.INSIGHTS, Channel.ALERTS)


class CloseCode(IntEnum):
    """Why we end a connection."""

    GOING_AWAY = 1001
    TOO_BIG = 1009
    TRY_LATER = 1013
    BAD_MESSAGE = 4400
    NO_AUTH = 4401
    NO_ACCESS = 4403
    IDLE = 4408
    LIMIT = 4429


class MessageError(ValueError):
    """A client's message is none; the text is for a person."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Auth(_Message):
    """Who is there; the first message, and again to renew."""

    type: Literal["auth"]
    token: str = Field(min_length=1, max_length=TOKEN_CHARS_MAX)


_Channels = Annotated[list[Annotated[Channel, Field(strict=False)]], Field(min_length=1)]


class Subscribe(_Message):
    """What to send from now on; with `last_id` what was missed since, too."""

    type: Literal["subscribe"]
    channels: Annotated[_Channels, Field(max_length=len(Channel))]
    last_id: str | None = Field(None, pattern=f"^{_ID.pattern}$")


class Unsubscribe(_Message):
    """What to send no more."""

    type: Literal["unsubscribe"]
    channels: Annotated[_Channels, Field(max_length=len(Channel))]


class Ping(_Message):
    """Is answered by a pong."""

    type: Literal["ping"]


ClientMessage = Auth | Subscribe | Unsubscribe | Ping
_CLIENT: TypeAdapter[ClientMessage] = TypeAdapter(
    Annotated[ClientMessage, Field(discriminator="type")]
)


def read_message(text: str) -> ClientMessage:
    """A client's message.

    Raises:
        MessageError: it is none, and why; what was sent is not repeated.
    """
    try:
        return _CLIENT.validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in fault["loc"][1:])
        raise MessageError(f"{place}: {fault['msg']}" if place else fault["msg"]) from None


class MessageId(NamedTuple):
    """The place of a message, the same from every process: of its record in Kafka.

    `created_ms` is the time that the record's producer gave it, `stream` the first letter of the
    channel, `place` that in the record.
    """

    created_ms: int
    stream: str
    partition: int
    offset: int
    place: int

    @classmethod
    def read(cls, text: str) -> Self:
        """The id that is written so."""
        found = _ID.fullmatch(text)
        assert found is not None  # The model of the message has looked.
        created, stream, partition, offset, place = found.groups()
        return cls(int(created), stream, int(partition), int(offset), int(place))

    def __str__(self) -> str:
        return f"{self.created_ms:013d}-{self.stream}{self.partition}-{self.offset}-{self.place}"


def position_of(at_ms: int) -> MessageId:
    """What stands for all that was written before a moment, in the form of an id."""
    return MessageId(at_ms, _NO_STREAM, 0, 0, 0)


def message(
    kind: str,
    data: Mapping[str, Any] | None = None,
    *,
    message_id: str = "",
    position: MessageId | None = None,
) -> bytes:
    """One of ours. Who gets the same `message_id` twice got the same message twice.

    `position` stands for all that was sent before.
    """
    made: dict[str, Any] = {"type": kind}
    if message_id:
        made["id"] = message_id
    if position is not None:
        made["position"] = str(position)
    if data is not None:
        made["data"] = data
    return _ENCODER.encode(made)


def error_message(code: str, text: str) -> bytes:
    """Something went wrong that does not end the connection."""
    return message("error", {"code": code, "message": text})
