"""The content of a snapshot's file, against the digest that it is named by."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from hedonic.data.canonical import BLOCK_ROWS, block_digest
from hedonic.data.snapshot import Snapshot
from hedonic.errors import HedonicError

if TYPE_CHECKING:
    import pyarrow as pa

FILE, NAME = "snapshot.parquet", "snapshot.json"
_LONGEST_SEARCH = 16
_AGAIN = "Restore it from a backup, or remove the folder and run again from the step 'ingest'."


def verify_snapshot(folder: Path) -> Snapshot:
    """Return the name of the snapshot in ``folder``, after its digest was computed again from its rows.

    Raises:
        HedonicError: a file is missing, changed or extra, or cannot be read.
    """
    where = f"snapshot {folder.name[:16]} of {folder.parent.name}"
    try:
        snapshot = Snapshot.model_validate_json((folder / NAME).read_bytes())
    except (OSError, ValidationError) as err:
        raise HedonicError(f"{where}: {NAME}: not the name of a snapshot: {_line(err)}. {_AGAIN}") from err
    extra = sorted({path.name for path in folder.iterdir()} - {FILE, NAME})
    if extra or (snapshot.dataset, snapshot.digest) != (folder.parent.name, folder.name):
        told = f"{', '.join(extra)}: not part of it" if extra else f"{NAME}: is about another"
        raise HedonicError(f"{where}: {told}. {_AGAIN}")
    schema, blocks, n_rows = _read(folder / FILE, where)
    if n_rows != snapshot.n_rows or not _is_of(schema, blocks, snapshot.digest):
        raise HedonicError(
            f"{where}: {FILE}: changed: its {n_rows:,} rows have another digest than the {snapshot.n_rows:,} "
            f"that it is named by. {_AGAIN}"
        )
    return snapshot


def _read(path: Path, where: str) -> tuple[pa.Schema, list[bytes], int]:
    """Return columns, digests of blocks, and number of rows of the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(path)
        blocks, n_rows = [], 0
        for batch in source.iter_batches(BLOCK_ROWS):
            blocks.append(block_digest(pa.Table.from_batches([batch])))
            n_rows += len(batch)
        return source.schema_arrow, blocks, n_rows
    except (pa.ArrowException, OSError, ValueError, TypeError) as err:
        raise HedonicError(f"{where}: {FILE}: cannot be read: {_line(err)}. {_AGAIN}") from err


def _is_of(schema: pa.Schema, blocks: list[bytes], digest: str) -> bool:
    """Return whether columns and blocks have the digest.

    It covers the types that the contract gives the columns, and Parquet keeps categories and text alike:
    every reading of the text columns is tried.
    """
    readings = [_types(str(field.type)) for field in schema]
    if sum(len(reading) > 1 for reading in readings) > _LONGEST_SEARCH:
        raise HedonicError(f"a snapshot of more than {_LONGEST_SEARCH} text columns cannot be verified")
    names = schema.names
    content = b"".join(blocks)
    return any(
        hashlib.sha256(json.dumps([list(p) for p in zip(names, types, strict=True)]).encode() + content)
        .hexdigest() == digest
        for types in itertools.product(*readings)
    )  # fmt: skip


def _types(arrow: str) -> tuple[str, ...]:
    """Return the types of a contract that are kept as this type of Arrow."""
    kept = {"int64": "integer", "double": "number", "bool": "boolean", "date32[day]": "date"}
    return (kept[arrow],) if arrow in kept else ("category", "text")


def _line(err: Exception) -> str:
    return " ".join(str(err).split())[:300]
