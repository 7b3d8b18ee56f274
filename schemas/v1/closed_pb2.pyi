from schemas.v1 import common_pb2 as _common_pb2
from schemas.v1 import events_pb2 as _events_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClosedEvent(_message.Message):
    __slots__ = ("event_id", "session_id", "user_id", "project_id", "event_type", "timestamp", "page", "device", "custom", "anonymous_id", "page_view_id", "channel_type", "external_id", "handshake_token", "session_start", "session_end", "page_view", "page_exit", "click", "mouse_move", "scroll", "input_change", "input_focus", "form_submit", "js_error", "performance", "network_request", "custom_event", "identify", "replay", "page_visible", "scroll_milestone", "input_blur", "form_start", "form_abandon", "form_error", "resource_error", "console_error", "long_task", "memory", "media", "resize", "group", "websocket", "hover", "dom_mutation", "goal", "purchase")
    class CustomEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_VIEW_ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    HANDSHAKE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_START_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_FIELD_NUMBER: _ClassVar[int]
    PAGE_VIEW_FIELD_NUMBER: _ClassVar[int]
    PAGE_EXIT_FIELD_NUMBER: _ClassVar[int]
    CLICK_FIELD_NUMBER: _ClassVar[int]
    MOUSE_MOVE_FIELD_NUMBER: _ClassVar[int]
    SCROLL_FIELD_NUMBER: _ClassVar[int]
    INPUT_CHANGE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FOCUS_FIELD_NUMBER: _ClassVar[int]
    FORM_SUBMIT_FIELD_NUMBER: _ClassVar[int]
    JS_ERROR_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    NETWORK_REQUEST_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_EVENT_FIELD_NUMBER: _ClassVar[int]
    IDENTIFY_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    PAGE_VISIBLE_FIELD_NUMBER: _ClassVar[int]
    SCROLL_MILESTONE_FIELD_NUMBER: _ClassVar[int]
    INPUT_BLUR_FIELD_NUMBER: _ClassVar[int]
    FORM_START_FIELD_NUMBER: _ClassVar[int]
    FORM_ABANDON_FIELD_NUMBER: _ClassVar[int]
    FORM_ERROR_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_ERROR_FIELD_NUMBER: _ClassVar[int]
    CONSOLE_ERROR_FIELD_NUMBER: _ClassVar[int]
    LONG_TASK_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    WEBSOCKET_FIELD_NUMBER: _ClassVar[int]
    HOVER_FIELD_NUMBER: _ClassVar[int]
    DOM_MUTATION_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    PURCHASE_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    session_id: str
    user_id: str
    project_id: str
    event_type: int
    timestamp: _common_pb2.Timestamp
    page: bytes
    device: bytes
    custom: _containers.ScalarMap[str, str]
    anonymous_id: str
    page_view_id: str
    channel_type: str
    external_id: str
    handshake_token: str
    session_start: bytes
    session_end: bytes
    page_view: bytes
    page_exit: bytes
    click: bytes
    mouse_move: bytes
    scroll: bytes
    input_change: bytes
    input_focus: bytes
    form_submit: bytes
    js_error: bytes
    performance: bytes
    network_request: bytes
    custom_event: bytes
    identify: bytes
    replay: bytes
    page_visible: bytes
    scroll_milestone: bytes
    input_blur: bytes
    form_start: bytes
    form_abandon: bytes
    form_error: bytes
    resource_error: bytes
    console_error: bytes
    long_task: bytes
    memory: bytes
    media: bytes
    resize: bytes
    group: bytes
    websocket: bytes
    hover: bytes
    dom_mutation: bytes
    goal: bytes
    purchase: bytes
    def __init__(self, event_id: _Optional[str] = ..., session_id: _Optional[str] = ..., user_id: _Optional[str] = ..., project_id: _Optional[str] = ..., event_type: _Optional[int] = ..., timestamp: _Optional[_Union[_common_pb2.Timestamp, _Mapping]] = ..., page: _Optional[bytes] = ..., device: _Optional[bytes] = ..., custom: _Optional[_Mapping[str, str]] = ..., anonymous_id: _Optional[str] = ..., page_view_id: _Optional[str] = ..., channel_type: _Optional[str] = ..., external_id: _Optional[str] = ..., handshake_token: _Optional[str] = ..., session_start: _Optional[bytes] = ..., session_end: _Optional[bytes] = ..., page_view: _Optional[bytes] = ..., page_exit: _Optional[bytes] = ..., click: _Optional[bytes] = ..., mouse_move: _Optional[bytes] = ..., scroll: _Optional[bytes] = ..., input_change: _Optional[bytes] = ..., input_focus: _Optional[bytes] = ..., form_submit: _Optional[bytes] = ..., js_error: _Optional[bytes] = ..., performance: _Optional[bytes] = ..., network_request: _Optional[bytes] = ..., custom_event: _Optional[bytes] = ..., identify: _Optional[bytes] = ..., replay: _Optional[bytes] = ..., page_visible: _Optional[bytes] = ..., scroll_milestone: _Optional[bytes] = ..., input_blur: _Optional[bytes] = ..., form_start: _Optional[bytes] = ..., form_abandon: _Optional[bytes] = ..., form_error: _Optional[bytes] = ..., resource_error: _Optional[bytes] = ..., console_error: _Optional[bytes] = ..., long_task: _Optional[bytes] = ..., memory: _Optional[bytes] = ..., media: _Optional[bytes] = ..., resize: _Optional[bytes] = ..., group: _Optional[bytes] = ..., websocket: _Optional[bytes] = ..., hover: _Optional[bytes] = ..., dom_mutation: _Optional[bytes] = ..., goal: _Optional[bytes] = ..., purchase: _Optional[bytes] = ...) -> None: ...

class ClosedClick(_message.Message):
    __slots__ = ("position", "target", "button", "dom_observed")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BUTTON_FIELD_NUMBER: _ClassVar[int]
    DOM_OBSERVED_FIELD_NUMBER: _ClassVar[int]
    position: _common_pb2.Position
    target: bytes
    button: int
    dom_observed: bool
    def __init__(self, position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., target: _Optional[bytes] = ..., button: _Optional[int] = ..., dom_observed: _Optional[bool] = ...) -> None: ...

class GlanceEvent(_message.Message):
    __slots__ = ("event_id", "session_id", "user_id", "project_id", "event_type", "timestamp", "page", "device", "anonymous_id", "page_view_id", "channel_type", "external_id", "handshake_token", "session_start", "session_end", "page_view", "page_exit", "click", "mouse_move", "scroll", "input_change", "input_focus", "form_submit", "js_error", "performance", "network_request", "custom_event", "identify", "replay", "page_visible", "scroll_milestone", "input_blur", "form_start", "form_abandon", "form_error", "resource_error", "console_error", "long_task", "memory", "media", "resize", "group", "websocket", "hover", "dom_mutation", "goal", "purchase")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_VIEW_ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_TYPE_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_ID_FIELD_NUMBER: _ClassVar[int]
    HANDSHAKE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_START_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_FIELD_NUMBER: _ClassVar[int]
    PAGE_VIEW_FIELD_NUMBER: _ClassVar[int]
    PAGE_EXIT_FIELD_NUMBER: _ClassVar[int]
    CLICK_FIELD_NUMBER: _ClassVar[int]
    MOUSE_MOVE_FIELD_NUMBER: _ClassVar[int]
    SCROLL_FIELD_NUMBER: _ClassVar[int]
    INPUT_CHANGE_FIELD_NUMBER: _ClassVar[int]
    INPUT_FOCUS_FIELD_NUMBER: _ClassVar[int]
    FORM_SUBMIT_FIELD_NUMBER: _ClassVar[int]
    JS_ERROR_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    NETWORK_REQUEST_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_EVENT_FIELD_NUMBER: _ClassVar[int]
    IDENTIFY_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    PAGE_VISIBLE_FIELD_NUMBER: _ClassVar[int]
    SCROLL_MILESTONE_FIELD_NUMBER: _ClassVar[int]
    INPUT_BLUR_FIELD_NUMBER: _ClassVar[int]
    FORM_START_FIELD_NUMBER: _ClassVar[int]
    FORM_ABANDON_FIELD_NUMBER: _ClassVar[int]
    FORM_ERROR_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_ERROR_FIELD_NUMBER: _ClassVar[int]
    CONSOLE_ERROR_FIELD_NUMBER: _ClassVar[int]
    LONG_TASK_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    WEBSOCKET_FIELD_NUMBER: _ClassVar[int]
    HOVER_FIELD_NUMBER: _ClassVar[int]
    DOM_MUTATION_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    PURCHASE_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    session_id: str
    user_id: str
    project_id: str
    event_type: int
    timestamp: _common_pb2.Timestamp
    page: bytes
    device: bytes
    anonymous_id: str
    page_view_id: str
    channel_type: str
    external_id: str
    handshake_token: str
    session_start: bytes
    session_end: bytes
    page_view: bytes
    page_exit: bytes
    click: ClosedClick
    mouse_move: _events_pb2.MouseMovePayload
    scroll: _events_pb2.ScrollPayload
    input_change: bytes
    input_focus: bytes
    form_submit: bytes
    js_error: bytes
    performance: _events_pb2.PerformancePayload
    network_request: bytes
    custom_event: bytes
    identify: bytes
    replay: bytes
    page_visible: _events_pb2.PageVisiblePayload
    scroll_milestone: _events_pb2.ScrollMilestonePayload
    input_blur: bytes
    form_start: bytes
    form_abandon: bytes
    form_error: bytes
    resource_error: bytes
    console_error: bytes
    long_task: bytes
    memory: _events_pb2.MemoryPayload
    media: bytes
    resize: bytes
    group: bytes
    websocket: bytes
    hover: bytes
    dom_mutation: _events_pb2.DomMutationPayload
    goal: bytes
    purchase: bytes
    def __init__(self, event_id: _Optional[str] = ..., session_id: _Optional[str] = ..., user_id: _Optional[str] = ..., project_id: _Optional[str] = ..., event_type: _Optional[int] = ..., timestamp: _Optional[_Union[_common_pb2.Timestamp, _Mapping]] = ..., page: _Optional[bytes] = ..., device: _Optional[bytes] = ..., anonymous_id: _Optional[str] = ..., page_view_id: _Optional[str] = ..., channel_type: _Optional[str] = ..., external_id: _Optional[str] = ..., handshake_token: _Optional[str] = ..., session_start: _Optional[bytes] = ..., session_end: _Optional[bytes] = ..., page_view: _Optional[bytes] = ..., page_exit: _Optional[bytes] = ..., click: _Optional[_Union[ClosedClick, _Mapping]] = ..., mouse_move: _Optional[_Union[_events_pb2.MouseMovePayload, _Mapping]] = ..., scroll: _Optional[_Union[_events_pb2.ScrollPayload, _Mapping]] = ..., input_change: _Optional[bytes] = ..., input_focus: _Optional[bytes] = ..., form_submit: _Optional[bytes] = ..., js_error: _Optional[bytes] = ..., performance: _Optional[_Union[_events_pb2.PerformancePayload, _Mapping]] = ..., network_request: _Optional[bytes] = ..., custom_event: _Optional[bytes] = ..., identify: _Optional[bytes] = ..., replay: _Optional[bytes] = ..., page_visible: _Optional[_Union[_events_pb2.PageVisiblePayload, _Mapping]] = ..., scroll_milestone: _Optional[_Union[_events_pb2.ScrollMilestonePayload, _Mapping]] = ..., input_blur: _Optional[bytes] = ..., form_start: _Optional[bytes] = ..., form_abandon: _Optional[bytes] = ..., form_error: _Optional[bytes] = ..., resource_error: _Optional[bytes] = ..., console_error: _Optional[bytes] = ..., long_task: _Optional[bytes] = ..., memory: _Optional[_Union[_events_pb2.MemoryPayload, _Mapping]] = ..., media: _Optional[bytes] = ..., resize: _Optional[bytes] = ..., group: _Optional[bytes] = ..., websocket: _Optional[bytes] = ..., hover: _Optional[bytes] = ..., dom_mutation: _Optional[_Union[_events_pb2.DomMutationPayload, _Mapping]] = ..., goal: _Optional[bytes] = ..., purchase: _Optional[bytes] = ...) -> None: ...

class GlanceBatch(_message.Message):
    __slots__ = ("project_key", "events", "sent_at", "sdk_version")
    PROJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    SDK_VERSION_FIELD_NUMBER: _ClassVar[int]
    project_key: str
    events: _containers.RepeatedCompositeFieldContainer[GlanceEvent]
    sent_at: int
    sdk_version: str
    def __init__(self, project_key: _Optional[str] = ..., events: _Optional[_Iterable[_Union[GlanceEvent, _Mapping]]] = ..., sent_at: _Optional[int] = ..., sdk_version: _Optional[str] = ...) -> None: ...

class ClosedRawBatch(_message.Message):
    __slots__ = ("events", "sent_at", "sdk_version", "project_id", "session_id", "received_at_ms", "client_ip", "user_agent", "event_count", "retain_days", "scrubber_version", "batch_id")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    SDK_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_IP_FIELD_NUMBER: _ClassVar[int]
    USER_AGENT_FIELD_NUMBER: _ClassVar[int]
    EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    RETAIN_DAYS_FIELD_NUMBER: _ClassVar[int]
    SCRUBBER_VERSION_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[ClosedEvent]
    sent_at: int
    sdk_version: str
    project_id: str
    session_id: str
    received_at_ms: int
    client_ip: str
    user_agent: str
    event_count: int
    retain_days: int
    scrubber_version: int
    batch_id: str
    def __init__(self, events: _Optional[_Iterable[_Union[ClosedEvent, _Mapping]]] = ..., sent_at: _Optional[int] = ..., sdk_version: _Optional[str] = ..., project_id: _Optional[str] = ..., session_id: _Optional[str] = ..., received_at_ms: _Optional[int] = ..., client_ip: _Optional[str] = ..., user_agent: _Optional[str] = ..., event_count: _Optional[int] = ..., retain_days: _Optional[int] = ..., scrubber_version: _Optional[int] = ..., batch_id: _Optional[str] = ...) -> None: ...
