"""JSON objects as arguments for protobuf messages, by the descriptors and a table of aliases.

In: an object of the JSON dialects of events.md, section 5. Out: keyword arguments for the message.
Every field is known by its own name and in camelCase; unknown keys are ignored; null is absent;
where a field and its alias are both given, the field wins. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from schemas import json_values as values
from schemas.json_values import Converter, FieldError
from schemas.payload_text import short_names
from schemas.v1.common_pb2 import DeviceInfo, PageContext
from schemas.v1.events_pb2 import Event

JsonObject = dict[str, Any]
Reader = Callable[[Any], JsonObject]

# Message name -> alias -> field. Source: events.md, section 5.
ALIASES: Mapping[str, Mapping[str, str]] = {
    "MousePosition": {"t": "timestamp"},
    "ScrollPayload": {
        "depth_percent": "scroll_depth_percent",
        "depthPercent": "scroll_depth_percent",
    },
    "JsErrorPayload": {
        "source": "filename",
        "line": "lineno",
        "column": "colno",
        "reason": "message",
    },
    "PerformancePayload": {
        "lcp": "largest_contentful_paint",
        "fid": "first_input_delay",
        "cls": "cumulative_layout_shift",
        "fcp": "first_contentful_paint",
        "inp": "interaction_to_next_paint",
    },
}
# Texts that may be anything: what was thrown, what was logged.
ANY_VALUE_FIELDS = frozenset({"JsErrorPayload.message", "ConsoleErrorPayload.args"})
PRESENT_ONLY_MAPS = frozenset({"attributes", "query_params"})
_METRICS = {
    "LCP": "largest_contentful_paint",
    "FID": "first_input_delay",
    "CLS": "cumulative_layout_shift",
    "FCP": "first_contentful_paint",
    "INP": "interaction_to_next_paint",
    "TTFB": "ttfb",
}

_SCALARS: Mapping[int, Converter] = {
    FieldDescriptor.TYPE_STRING: values.text,
    FieldDescriptor.TYPE_BOOL: values.flag,
    FieldDescriptor.TYPE_INT32: values.whole_number(values.INT32),
    FieldDescriptor.TYPE_INT64: values.whole_number(values.INT64),
    FieldDescriptor.TYPE_FLOAT: values.real_number,
    FieldDescriptor.TYPE_DOUBLE: values.real_number,
}


def camel_case(name: str) -> str:
    """`screen_width` as `screenWidth`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _converter(message_name: str, field: FieldDescriptor) -> Converter:
    if field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            is_present_only = field.name in PRESENT_ONLY_MAPS
            return values.present_text_map if is_present_only else values.text_map
        convert: Converter = build_reader(field.message_type)
    elif field.enum_type is not None:
        convert = _enum_converter(field.enum_type)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        convert = values.base64_bytes
    elif f"{message_name}.{field.name}" in ANY_VALUE_FIELDS:
        convert = values.primitive_text
    else:
        convert = _SCALARS[field.type]
    return values.list_of(convert) if field.is_repeated else convert


def _enum_converter(descriptor: EnumDescriptor) -> Converter:
    names = short_names(descriptor)
    numbers = {name: number for number, name in names.items()}
    numbers.update((value.name, value.number) for value in descriptor.values)
    return values.choice(numbers, has_unspecified=names[0] == "unspecified")


@cache
def build_reader(descriptor: Descriptor, is_lenient: bool = False) -> Reader:
    """A function from a JSON object to keyword arguments for this message.

    It raises `FieldError` for a value that does not fit; a lenient one leaves such fields out.
    """
    # key -> (field, converter, is it an alias)
    rules: dict[str, tuple[str, Converter, bool]] = {}
    for field in descriptor.fields:
        rules.setdefault(
            camel_case(field.name), (field.name, _converter(descriptor.name, field), True)
        )
    for alias, name in ALIASES.get(descriptor.name, {}).items():
        rules[alias] = (name, _converter(descriptor.name, descriptor.fields_by_name[name]), True)
    for field in descriptor.fields:
        rules[field.name] = (field.name, _converter(descriptor.name, field), False)

    def read(data: Any) -> JsonObject:
        if type(data) is not dict:
            raise FieldError("must be an object")
        result: JsonObject = {}
        for key, value in data.items():
            rule = rules.get(key)
            if rule is None or value is None:
                continue
            name, convert, is_alias = rule
            if is_alias and data.get(name) is not None:
                continue
            try:
                result[name] = convert(value)
            except FieldError as error:
                if not is_lenient:
                    raise error.inside(name) from None
        return result

    return read


read_page = build_reader(PageContext.DESCRIPTOR, is_lenient=True)
read_device = build_reader(DeviceInfo.DESCRIPTOR, is_lenient=True)

_PAYLOAD_READERS: Mapping[str, Reader] = {
    field.name: build_reader(field.message_type)
    for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields
}


def read_payload(member: str, event_type: str, data: Any) -> JsonObject:
    """Keyword arguments for the member of the oneof that this type of event has.

    Raises:
        FieldError: a value does not fit.
    """
    if type(data) is not dict:
        raise FieldError("must be an object")
    if member == "performance" and "metric" in data:
        data = {**data, _METRICS.get(str(data["metric"]).upper(), ""): data.get("value")}
    elif member == "click" and data.get("position") is None and ("x" in data or "y" in data):
        data = {**data, "position": {"x": data.get("x"), "y": data.get("y")}}
    result = _PAYLOAD_READERS[member](data)
    if event_type == "unhandled_rejection":
        result.setdefault("error_type", "UnhandledRejection")
    return result
