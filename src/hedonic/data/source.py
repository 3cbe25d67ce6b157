"""Sources: a table by URI, copied once and read in batches, whatever is wrong with it named."""

from __future__ import annotations

import difflib
import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from hedonic.data.contract import Contract
from hedonic.errors import HedonicError, SourceError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 65_536
_CHUNK_BYTES = 1 << 20


def resolve(uri: str, base: Path) -> str:
    """Return the URI, a relative path made absolute below ``base``."""
    return uri if "://" in uri or Path(uri).is_absolute() else str(base / uri)


def copy_source(contract: Contract, uri: str, scratch: Path) -> tuple[Path, str]:
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
        if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HedonicError(
                f"{contract.name}: no space left for a copy of the source in {scratch.parent}. Make some."
            ) from err
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
            f"{contract.source.sha256}. Restore the file; or if this content is meant, put its digest into "
            "source.sha256, or remove it to train on whatever the source holds."
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


def read_batches(contract: Contract, path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the contract's columns of a Parquet or CSV file, in its own types (CSV: as text).

    Raises:
        SourceError: it is neither, is damaged or incomplete, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    wanted = [column.name for column in contract.columns]
    try:
        if ".parquet" in path.suffixes:
            source = pq.ParquetFile(path)
            _check_columns(contract, source.schema_arrow.names)
            yield from source.iter_batches(BATCH_ROWS, columns=wanted)
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
