"""Snapshots: the source as immutable Parquet, addressed by its content."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np

from hedonic.data.contract import Column, Contract, Frozen
from hedonic.errors import HedonicError, SourceError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BLOCK_ROWS = 65_536
_CHUNK_BYTES = 1 << 20


class Snapshot(Frozen):
    """The name of a snapshot: its content's digest, its length, and where it came from.

    The digest is the sha256 over the digests of blocks of 65,536 rows in source order, columns in
    contract order, in canonical types and nulls: neither the file's name nor its row groups count.
    """

    dataset: str
    digest: str
    n_rows: int
    source_uri: str
    source_sha256: str


class SnapshotStore:
    """The snapshots below one folder: ``<data set>/<digest>/snapshot.parquet``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, snapshot: Snapshot) -> Path:
        """Return the folder that holds the snapshot."""
        return self.root / snapshot.dataset / snapshot.digest

    def ingest(self, contract: Contract, base: Path) -> Snapshot:
        """Return the snapshot of the contract's source, written unless it is there already.

        Args:
            contract: names the source and the columns that are kept.
            base: the folder against which a relative source is resolved.

        Raises:
            SourceError: the source is missing, unreadable, incomplete, still being written, not
                of the stated digest, or lacks or mistypes columns.
        """
        uri = _resolve(contract.source.uri, base)
        folder = self.root / contract.name
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".ingest-") as scratch:
            copy, sha256 = _copy_source(contract, uri, Path(scratch))
            written = Path(scratch) / "snapshot.parquet"
            digest, n_rows = _write_canonical(contract, copy, written)
            snapshot = Snapshot(
                dataset=contract.name,
                digest=digest,
                n_rows=n_rows,
                source_uri=contract.source.uri,
                source_sha256=sha256,
            )
            target = self.folder(snapshot)
            if not (target / "snapshot.parquet").is_file():
                _publish(written, target, snapshot)
        return snapshot

    def frame(self, snapshot: Snapshot, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the rows as a pandas frame whose index is the row number."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.file(snapshot), columns=list(columns) if columns else None)
        return cast("pd.DataFrame", table.to_pandas(date_as_object=False))

    def batches(self, snapshot: Snapshot, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, at most 65,536 at a time."""
        import pyarrow.parquet as pq

        source = pq.ParquetFile(self.file(snapshot))
        yield from source.iter_batches(BLOCK_ROWS, columns=list(columns) if columns else None)

    def file(self, snapshot: Snapshot) -> Path:
        """Return the snapshot's Parquet file.

        Raises:
            HedonicError: it is gone.
        """
        path = self.folder(snapshot) / "snapshot.parquet"
        if not path.is_file():
            raise HedonicError(
                f"snapshot {snapshot.digest[:16]} of {snapshot.dataset} is gone from {self.root}. "
                "Run again from the step 'ingest'."
            )
        return path


def _resolve(uri: str, base: Path) -> str:
    return uri if "://" in uri or Path(uri).is_absolute() else str(base / uri)


def _copy_source(contract: Contract, uri: str, scratch: Path) -> tuple[Path, str]:
    """Return a private copy of the source and its sha256, so that it cannot change under us."""
    import fsspec

    suffix = "".join(Path(uri).suffixes[-2:])
    copy, digest = scratch / f"source{suffix}", hashlib.sha256()
    before = _stamp(uri)
    try:
        with fsspec.open(uri, "rb") as source, copy.open("wb") as target:
            while chunk := cast(BinaryIO, source).read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
    except FileNotFoundError as err:
        raise SourceError(
            f"{contract.name}: source {contract.source.uri} does not exist. "
            "Correct source.uri in the contract, or put the file there."
        ) from err
    except (OSError, ImportError, ValueError) as err:
        raise SourceError(f"{contract.name}: source {contract.source.uri} cannot be read: {err}") from err
    if _stamp(uri) != before:
        raise SourceError(
            f"{contract.name}: source {contract.source.uri} changed while it was read: it is still "
            "being written. Run again when it is complete (write elsewhere, then rename)."
        )
    sha256 = digest.hexdigest()
    if contract.source.sha256 not in (None, sha256):
        raise SourceError(
            f"{contract.name}: source {contract.source.uri} has sha256 {sha256}, the contract says "
            f"{contract.source.sha256}. Restore the file, or put the new digest into source.sha256."
        )
    return copy, sha256


def _stamp(uri: str) -> tuple[int, int] | None:
    if "://" in uri:
        return None
    try:
        found = os.stat(uri)
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _read_batches(contract: Contract, path: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    wanted = [column.name for column in contract.columns]
    try:
        if ".parquet" in path.suffixes:
            source = pq.ParquetFile(path)
            _check_columns(contract, source.schema_arrow.names)
            yield from source.iter_batches(BLOCK_ROWS, columns=wanted)
        elif ".csv" in path.suffixes:
            with pc.open_csv(path) as reader:
                _check_columns(contract, reader.schema.names)
            as_text = pc.ConvertOptions(
                include_columns=wanted,
                column_types={name: pa.string() for name in wanted},
                strings_can_be_null=True,
                null_values=["", "NA", "NaN", "nan", "null", "NULL"],
            )
            quoted = pc.ParseOptions(newlines_in_values=True)
            with pc.open_csv(path, convert_options=as_text, parse_options=quoted) as reader:
                yield from reader
        else:
            raise SourceError(
                f"{contract.name}: source {contract.source.uri} is neither .parquet nor .csv: "
                "convert it, or name it by its format."
            )
    except (pa.ArrowInvalid, OSError) as err:
        if "Empty CSV" in str(err):
            raise SourceError(f"{contract.name}: source {contract.source.uri} is empty.") from err
        form = "Parquet" if ".parquet" in path.suffixes else "CSV"
        raise SourceError(
            f"{contract.name}: source {contract.source.uri} is not a complete "
            f"{form} file ({str(err).splitlines()[0]}). It is damaged or still being written: run again "
            "when it is complete."
        ) from err


def _check_columns(contract: Contract, present: Sequence[str]) -> None:
    problems = []
    for column in contract.columns:
        if column.name not in present:
            known = {c.name for c in contract.columns}
            close = difflib.get_close_matches(column.name, [p for p in present if p not in known], n=1)
            hint = f" (is it now called {close[0]!r}?)" if close else ""
            problems.append(f"column {column.name!r} is missing{hint}")
    repeated = sorted({name for name in present if list(present).count(name) > 1})
    problems += [f"column {name!r} is there twice" for name in repeated]
    if problems:
        raise SourceError(
            f"{contract.name}: source {contract.source.uri}: {'; '.join(problems)}. "
            "Mend the source, or the contract's columns."
        )


def _write_canonical(contract: Contract, path: Path, target: Path) -> tuple[str, int]:
    """Write the contract's columns in canonical types; return the content digest and the length."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(column.name, _arrow_type(column)) for column in contract.columns])
    digest, n_rows = hashlib.sha256(), 0
    digest.update(json.dumps([[c.name, c.type] for c in contract.columns]).encode())
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for table in _blocks(contract, _read_batches(contract, path), schema):
            writer.write_table(table, row_group_size=BLOCK_ROWS)
            digest.update(_block_digest(table))
            n_rows += len(table)
    if n_rows == 0:
        raise SourceError(f"{contract.name}: source {contract.source.uri} has no rows.")
    return digest.hexdigest(), n_rows


def _blocks(contract: Contract, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
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


def _arrow_type(column: Column) -> Any:
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

    wanted = _arrow_type(column)
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


def _block_digest(table: pa.Table) -> bytes:
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


def _publish(written: Path, target: Path, snapshot: Snapshot) -> None:
    """Move a finished snapshot to its place: a reader sees all of it or nothing."""
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".publish-"))
    os.replace(written, staging / "snapshot.parquet")
    with (staging / "snapshot.parquet").open("rb") as handle:
        os.fsync(handle.fileno())
    (staging / "snapshot.json").write_text(snapshot.model_dump_json(indent=1) + "\n")
    try:
        os.replace(staging, target)
    except OSError:
        shutil.rmtree(staging)
        if not (target / "snapshot.parquet").is_file():
            raise
        # Another process published the same content first.
