"""The canonical form of a table: the contract's columns in canonical types, in blocks with a digest each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hedonic.data.contract import Column, Contract
from hedonic.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_ROWS = 65_536


def arrow_type(column: Column) -> Any:
    """Return the Arrow type in which a column is kept."""
    import pyarrow as pa

    types = {
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "category": pa.string(),
        "date": pa.date32(),
        "text": pa.string(),
    }
    return types[column.type]


def _canonical(contract: Contract, column: Column, array: pa.Array, first_row: int) -> pa.Array:
    """Return the array in the column's canonical type; NaN and empty text become null."""
    import pyarrow as pa

    try:
        return _cast(column, array)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
        where = f"the column has type {array.type}"
        for row in range(len(array)):
            try:
                _cast(column, array.slice(row, 1))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                where = f"row {first_row + row} has {array[row].as_py()!r}"
                break
        raise SourceError(
            f"{contract.name}: column {column.name!r} should be {column.type}, but {where}. "
            "Mend the source, or the column's type in the contract."
        ) from err


def _cast(column: Column, array: pa.Array) -> pa.Array:
    """Return the array in the column's canonical type.

    Raises:
        ArrowInvalid: a value is not of that type; Arrow itself would read 2 as true, true as 1, and
            a number as a count of days.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = arrow_type(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        array = pc.utf8_trim_whitespace(array.cast(pa.string()))
        array = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.string()), array)
        if column.type == "integer":
            array = _integers(array)
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    temporal = pa.types.is_temporal(array.type)
    numeric = pa.types.is_integer(array.type) or pa.types.is_floating(array.type)
    if column.type in ("integer", "number") and (temporal or pa.types.is_boolean(array.type)):
        raise pa.ArrowInvalid("not a number")
    if column.type == "date" and numeric:
        raise pa.ArrowInvalid("not a date")
    if column.type == "boolean" and numeric:
        truths = pc.is_in(array, pa.array([0, 1, None], array.type))
        if not pc.all(truths, min_count=0).as_py():
            raise pa.ArrowInvalid("not a truth value")
    return array.cast(wanted, safe=not temporal)


def _integers(text: pa.Array) -> pa.Array:
    """Return the numbers in the texts; ``3.0`` is what a table with nulls makes of 3."""
    import pyarrow as pa

    try:
        return text.cast(pa.int64())
    except pa.ArrowInvalid:
        return text.cast(pa.float64())


def canonical_blocks(
    contract: Contract, batches: Iterator[pa.RecordBatch], schema: pa.Schema
) -> Iterator[pa.Table]:
    """Yield canonical tables of exactly 65,536 rows, the last one shorter."""
    import pyarrow as pa

    waiting = schema.empty_table()
    first_row = 0
    for batch in batches:
        arrays = [_canonical(contract, c, batch.column(c.name), first_row) for c in contract.columns]
        first_row += len(batch)
        waiting = pa.concat_tables([waiting, pa.Table.from_arrays(arrays, schema=schema)])
        while len(waiting) >= BLOCK_ROWS:
            yield waiting.slice(0, BLOCK_ROWS).combine_chunks()
            waiting = waiting.slice(BLOCK_ROWS)
    if len(waiting):
        yield waiting.combine_chunks()


def block_digest(table: pa.Table) -> bytes:
    """Return the sha256 of one block: of each column its null mask, then its values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    digest = hashlib.sha256(str(len(table)).encode())
    for column in table.columns:
        array = pa.concat_arrays(column.chunks) if column.num_chunks != 1 else column.chunk(0)
        digest.update(np.packbits(pc.is_null(array).to_numpy(zero_copy_only=False)).tobytes())
        if pa.types.is_string(array.type):
            filled = array.fill_null("")
            digest.update(pc.binary_length(filled).to_numpy(zero_copy_only=False).tobytes())
            digest.update("".join(filled.to_pylist()).encode())
        else:
            number = pa.int32() if pa.types.is_date32(array.type) else array.type
            filled = array.cast(number).fill_null(pa.scalar(0).cast(number))
            digest.update(np.ascontiguousarray(filled.to_numpy(zero_copy_only=False)).tobytes())
    return digest.digest()
