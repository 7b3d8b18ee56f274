from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReplayCodec(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REPLAY_CODEC_UNSPECIFIED: _ClassVar[ReplayCodec]
    REPLAY_CODEC_NONE: _ClassVar[ReplayCodec]
    REPLAY_CODEC_GZIP: _ClassVar[ReplayCodec]
    REPLAY_CODEC_ZSTD: _ClassVar[ReplayCodec]
REPLAY_CODEC_UNSPECIFIED: ReplayCodec
REPLAY_CODEC_NONE: ReplayCodec
REPLAY_CODEC_GZIP: ReplayCodec
REPLAY_CODEC_ZSTD: ReplayCodec

class ReplayChunk(_message.Message):
    __slots__ = ("project_key", "session_id", "recorder_id", "chunk_index", "timestamp_start", "timestamp_end", "event_count", "has_full_snapshot", "codec", "data", "sent_at", "project_id", "received_at_ms", "retain_days")
    PROJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RECORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_START_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_END_FIELD_NUMBER: _ClassVar[int]
    EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    HAS_FULL_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    RETAIN_DAYS_FIELD_NUMBER: _ClassVar[int]
    project_key: str
    session_id: str
    recorder_id: str
    chunk_index: int
    timestamp_start: int
    timestamp_end: int
    event_count: int
    has_full_snapshot: bool
    codec: ReplayCodec
    data: bytes
    sent_at: int
    project_id: str
    received_at_ms: int
    retain_days: int
    def __init__(self, project_key: _Optional[str] = ..., session_id: _Optional[str] = ..., recorder_id: _Optional[str] = ..., chunk_index: _Optional[int] = ..., timestamp_start: _Optional[int] = ..., timestamp_end: _Optional[int] = ..., event_count: _Optional[int] = ..., has_full_snapshot: _Optional[bool] = ..., codec: _Optional[_Union[ReplayCodec, str]] = ..., data: _Optional[bytes] = ..., sent_at: _Optional[int] = ..., project_id: _Optional[str] = ..., received_at_ms: _Optional[int] = ..., retain_days: _Optional[int] = ...) -> None: ...
