"""Many messages of one type as columns, decoded together.

In: the bytes of messages. Out: an Arrow record batch with a column for each field, or None where
one of them is not *plain*. A plain message is what encoders write: each field once, in its shortest
form, at most one member of a oneof, nothing that the schema does not know. For these, what the
columns hold is all that the message says; others are for a parser, which also knows what is wrong.

That a message is plain is known by its size: fields that stand twice, are unknown or written in a
longer way make it longer than what its columns say. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import ptars
import pyarrow as pa
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

Numbers = np.ndarray[Any, Any]

_TEXTS = frozenset({FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES})
_VARINTS = frozenset(
    {
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_ENUM,
    }
)
_FIXED = {FieldDescriptor.TYPE_FLOAT: (4, "u4"), FieldDescriptor.TYPE_DOUBLE: (8, "u8")}


class PlainReader:
    """Reads messages of one type."""

    def __init__(self, message: Descriptor) -> None:
        self._message = message
        self._handler = ptars.HandlerPool(_files(message.file, [])).get_for_message(message)

    def read(self, values: Sequence[bytes] | pa.Array) -> pa.RecordBatch | None:
        """All of the messages; a column of them has no nulls. None if one is not plain."""
        try:
            if isinstance(values, pa.Array):
                sizes = lengths_of(values)
                found = self._handler.array_to_record_batch(values)
            else:
                sizes = np.fromiter(map(len, values), np.int64, len(values))
                found = self._handler.list_to_record_batch(values)
        except Exception:
            return None
        except BaseException as error:
            # A panic of the library is no Exception, and no reason to end.
            if type(error).__name__ != "PanicException":
                raise
            return None
        columns = dict(zip(found.schema.names, found.columns, strict=True))
        expected = _sizes(self._message, columns, found.num_rows)
        return found if expected is not None and np.array_equal(expected, sizes) else None


def fields_of(structs: pa.Array) -> Mapping[str, pa.Array]:
    """The columns of messages within messages."""
    return {field.name: structs.field(place) for place, field in enumerate(structs.type)}


def rows_of(column: pa.Array) -> Numbers:
    """Which rows have a value."""
    return np.flatnonzero(is_there(column))


def distinct(column: pa.Array) -> tuple[list[Any], Numbers]:
    """The distinct values of a column, and which of them each row has."""
    found = column.dictionary_encode()
    return found.dictionary.to_pylist(), found.indices.to_numpy()


def is_there(column: pa.Array) -> Numbers:
    """Whether each value is there."""
    found: Numbers = column.is_valid().to_numpy(zero_copy_only=False)
    return found


def numbers_of(column: pa.Array) -> Numbers:
    """Whole numbers of 64 bits; 0 where there is none; truths are 0 and 1."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if column.null_count:
        column = column.fill_null(0)
    return np.asarray(column.to_numpy(zero_copy_only=False), np.int64)


def lengths_of(column: pa.Array) -> Numbers:
    """Bytes of each text; 0 where there is none."""
    ends = np.frombuffer(column.buffers()[1], np.int32)
    return np.diff(ends[column.offset : column.offset + len(column) + 1]).astype(np.int64)


def _sizes(message: Descriptor, columns: Mapping[str, pa.Array], count: int) -> Numbers | None:
    """How many bytes an encoder writes for each message; None if there are two of a oneof."""
    size = np.zeros(count, np.int64)
    members = np.zeros(count, np.int64)
    for field in message.fields:
        column = columns[field.name]
        if not _is_used(field, column):
            continue
        tag_bytes = 1 if field.number < 16 else 2 if field.number < 2_048 else 3
        if field.is_repeated:
            body = _repeated_bytes(field, column, tag_bytes)
            if body is None:
                return None
            size += body
            continue
        body, is_zero = _body_bytes(field, column)
        if body is None:
            return None
        is_said = is_there(column) if field.has_presence else ~is_zero
        size += np.where(is_said, body + tag_bytes, 0)
        if field.containing_oneof is not None and len(field.containing_oneof.fields) > 1:
            members += is_said
    return None if (members > 1).any() else size


def _is_used(field: FieldDescriptor, column: pa.Array) -> bool:
    """Whether any row may say something in this column: most columns are quickly passed over."""
    if column.null_count == len(column):
        return False
    return field.type not in _TEXTS or field.has_presence or bool(lengths_of(column).any())


def _body_bytes(field: FieldDescriptor, column: pa.Array) -> tuple[Numbers | None, Numbers]:
    """Bytes of a field behind its tag, and whether it is what is left out if presence is not told.

    The first is None if a message within is not plain.
    """
    if field.type in _TEXTS:
        lengths = lengths_of(column)
        return of_length(lengths), lengths == 0
    if field.type in _VARINTS:
        numbers = numbers_of(column)
        return varint_bytes(numbers), numbers == 0
    if field.type in _FIXED:
        body, bits = _FIXED[field.type]
        values = column.fill_null(0.0).to_numpy()
        return np.full(len(column), body), values.view(bits) == 0
    assert field.message_type is not None, f"{field.full_name} is of a type that is not read here"
    inner = _sizes(field.message_type, fields_of(column), len(column))
    return None if inner is None else of_length(inner), np.zeros(len(column), bool)


def _repeated_bytes(field: FieldDescriptor, column: pa.Array, tag_bytes: int) -> Numbers | None:
    """Bytes of all values of a repeated field, or of a map."""
    if isinstance(column, pa.MapArray):
        # Entries are written whole, whatever they hold.
        pairs = of_length(lengths_of(column.keys)) + of_length(lengths_of(column.items)) + 2
        each: Numbers | None = of_length(pairs)
    else:
        assert field.type in _TEXTS or field.message_type is not None, "numbers would be packed"
        each, _ = _body_bytes(field, column.values)
    if each is None:
        return None
    ends = np.concatenate(([0], np.cumsum(each + tag_bytes)))
    size: Numbers = np.diff(ends[column.offsets.to_numpy()])
    return size


def of_length(lengths: Numbers) -> Numbers:
    """Bytes of a field's length and of what is that long."""
    return lengths + varint_bytes(lengths)


def varint_bytes(numbers: Numbers) -> Numbers:
    """Bytes of the numbers as varints; ten of a negative one."""
    found = np.ones(len(numbers), np.int64)
    left = numbers.view(np.uint64) >> np.uint64(7)
    while left.any():
        found += left > 0
        left = left >> np.uint64(7)
    return found


def _files(file: FileDescriptor, found: list[FileDescriptor]) -> list[FileDescriptor]:
    """A file behind those that it imports."""
    for needed in file.dependencies:
        _files(needed, found)
    if file not in found:
        found.append(file)
    return found
