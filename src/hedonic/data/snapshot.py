"""Snapshots: the source as immutable Parquet, addressed by its content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hedonic.data.canonical import BLOCK_ROWS, arrow_type, block_digest, canonical_blocks
from hedonic.data.contract import Contract, Frozen
from hedonic.data.source import copy_source, read_batches, resolve
from hedonic.errors import HedonicError, SourceError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


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
        uri = resolve(contract.source.uri, base)
        folder = self.root / contract.name
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".ingest-") as scratch:
            copy, sha256 = copy_source(contract, uri, Path(scratch))
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


def content_digest(contract: Contract, path: Path) -> str:
    """Return the digest that a snapshot's file has by its content: that of its name, while nobody touched it.

    Args:
        contract: that the snapshot was made by; its columns are those of the file.
        path: the Parquet file.

    Raises:
        HedonicError: the file cannot be read, or has other columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(contract)
    digest, waiting = _begun_digest(contract), schema.empty_table()
    try:
        source = pq.ParquetFile(path)
        if source.schema_arrow.remove_metadata() != schema:
            raise HedonicError(f"{path}: has other columns than the contract of {contract.name}")
        for batch in source.iter_batches(BLOCK_ROWS):
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch], schema=schema)])
            while len(waiting) >= BLOCK_ROWS:
                digest.update(block_digest(waiting.slice(0, BLOCK_ROWS).combine_chunks()))
                waiting = waiting.slice(BLOCK_ROWS)
    except (OSError, ValueError, pa.ArrowException) as err:
        raise HedonicError(f"{path}: cannot be read: {str(err).splitlines()[0]}") from err
    if len(waiting):
        digest.update(block_digest(waiting.combine_chunks()))
    return digest.hexdigest()


def _schema(contract: Contract) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(column.name, arrow_type(column)) for column in contract.columns])


def _begun_digest(contract: Contract) -> hashlib._Hash:
    """Return a digest that knows the columns; the blocks of rows follow."""
    return hashlib.sha256(json.dumps([[c.name, c.type] for c in contract.columns]).encode())


def _write_canonical(contract: Contract, path: Path, target: Path) -> tuple[str, int]:
    """Write the contract's columns in canonical types; return the content digest and the length."""
    import pyarrow.parquet as pq

    schema = _schema(contract)
    digest, n_rows = _begun_digest(contract), 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for table in canonical_blocks(contract, read_batches(contract, path), schema):
            writer.write_table(table, row_group_size=BLOCK_ROWS)
            digest.update(block_digest(table))
            n_rows += len(table)
    if n_rows == 0:
        raise SourceError(f"{contract.name}: source {contract.source.uri} has no rows.")
    return digest.hexdigest(), n_rows


def _publish(written: Path, target: Path, snapshot: Snapshot) -> None:
    """Move a finished snapshot to its place: a reader sees all of it or nothing."""
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".publish-"))
    try:
        os.replace(written, staging / "snapshot.parquet")
        with (staging / "snapshot.parquet").open("rb") as handle:
            os.fsync(handle.fileno())
        (staging / "snapshot.json").write_text(snapshot.model_dump_json(indent=1) + "\n")
        os.replace(staging, target)
    except OSError:
        shutil.rmtree(staging)
        if not (target / "snapshot.parquet").is_file():
            raise
        # Another process published the same content first.
