from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PathCount(_message.Message):
    __slots__ = ("path", "count")
    PATH_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    path: str
    count: int
    def __init__(self, path: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class AlertTransition(_message.Message):
    __slots__ = ("alert_id", "rule_id", "rule_updated_at_ms", "project_id", "rule_name", "kind", "metric", "operator", "value", "threshold", "severity", "group", "window_start_ms", "window_end_ms", "opened_at_ms", "at_ms", "is_late", "filters", "recent_values", "top_paths", "affected_sessions", "sample_session_ids", "insight_ids", "transition_id", "condition_type", "window_ms", "held_for_ms")
    class GroupEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class FiltersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ALERT_ID_FIELD_NUMBER: _ClassVar[int]
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    RULE_UPDATED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    RULE_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    OPERATOR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_MS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_END_MS_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    IS_LATE_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    RECENT_VALUES_FIELD_NUMBER: _ClassVar[int]
    TOP_PATHS_FIELD_NUMBER: _ClassVar[int]
    AFFECTED_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_SESSION_IDS_FIELD_NUMBER: _ClassVar[int]
    INSIGHT_IDS_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_ID_FIELD_NUMBER: _ClassVar[int]
    CONDITION_TYPE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    HELD_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    alert_id: str
    rule_id: str
    rule_updated_at_ms: int
    project_id: str
    rule_name: str
    kind: str
    metric: str
    operator: str
    value: float
    threshold: float
    severity: str
    group: _containers.ScalarMap[str, str]
    window_start_ms: int
    window_end_ms: int
    opened_at_ms: int
    at_ms: int
    is_late: bool
    filters: _containers.ScalarMap[str, str]
    recent_values: _containers.RepeatedScalarFieldContainer[float]
    top_paths: _containers.RepeatedCompositeFieldContainer[PathCount]
    affected_sessions: int
    sample_session_ids: _containers.RepeatedScalarFieldContainer[str]
    insight_ids: _containers.RepeatedScalarFieldContainer[str]
    transition_id: str
    condition_type: str
    window_ms: int
    held_for_ms: int
    def __init__(self, alert_id: _Optional[str] = ..., rule_id: _Optional[str] = ..., rule_updated_at_ms: _Optional[int] = ..., project_id: _Optional[str] = ..., rule_name: _Optional[str] = ..., kind: _Optional[str] = ..., metric: _Optional[str] = ..., operator: _Optional[str] = ..., value: _Optional[float] = ..., threshold: _Optional[float] = ..., severity: _Optional[str] = ..., group: _Optional[_Mapping[str, str]] = ..., window_start_ms: _Optional[int] = ..., window_end_ms: _Optional[int] = ..., opened_at_ms: _Optional[int] = ..., at_ms: _Optional[int] = ..., is_late: _Optional[bool] = ..., filters: _Optional[_Mapping[str, str]] = ..., recent_values: _Optional[_Iterable[float]] = ..., top_paths: _Optional[_Iterable[_Union[PathCount, _Mapping]]] = ..., affected_sessions: _Optional[int] = ..., sample_session_ids: _Optional[_Iterable[str]] = ..., insight_ids: _Optional[_Iterable[str]] = ..., transition_id: _Optional[str] = ..., condition_type: _Optional[str] = ..., window_ms: _Optional[int] = ..., held_for_ms: _Optional[int] = ...) -> None: ...

class RawReceipt(_message.Message):
    __slots__ = ("received_at_ms",)
    RECEIVED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    received_at_ms: int
    def __init__(self, received_at_ms: _Optional[int] = ...) -> None: ...
