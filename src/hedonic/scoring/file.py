"""A table's file at a URI: read as it is, and written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, cast

from hedonic.errors import UserError

Format = Literal["csv", "parquet", "jsonl"]

_FORMATS: dict[str, Format] = {
    ".csv": "csv", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
_PACKED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}


def format_of(uri: str) -> Format:
    """Return the format that a URI's suffix names; CSV and JSON lines may be packed (``.csv.gz``).

    Raises:
        UserError: it names none that can be scored.
    """
    suffixes = PurePosixPath(uri).suffixes[-2:]
    packed = bool(suffixes) and suffixes[-1] in _PACKED
    found = _FORMATS.get(suffixes[-2 if packed and len(suffixes) > 1 else -1]) if suffixes else None
    if found is None or (packed and found == "parquet"):
        raise UserError(f"{uri}: name the table by its format: .csv, .parquet or .jsonl (.csv.gz, .jsonl.gz)")
    return found


@contextmanager
def opened(uri: str, *, text: bool) -> Iterator[IO[Any]]:
    """Yield the file at a URI for reading, unpacked.

    Raises:
        UserError: it cannot be read.
    """
    import fsspec

    mode, options = ("rt", {"encoding": "utf-8-sig", "newline": ""}) if text else ("rb", {})
    try:
        with fsspec.open(uri, mode, compression=_packing(uri), **options) as file:
            yield cast(IO[Any], file)
    except UnicodeDecodeError as err:
        raise UserError(f"{uri}: not UTF-8 at byte {err.start}. Write the table in UTF-8.") from err
    except (OSError, ImportError, EOFError) as err:
        raise UserError(f"{uri}: cannot be read: {err}") from err


@contextmanager
def written_whole(uri: str, *, text: bool) -> Iterator[IO[Any]]:
    """Yield a file under a temporary name beside ``uri``, which takes its place at the end; else it goes.

    Raises:
        UserError: it cannot be written.
    """
    import fsspec

    mode, options = ("wt", {"encoding": "utf-8", "newline": ""}) if text else ("wb", {})
    files, path = fsspec.core.url_to_fs(uri)
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{uuid.uuid4().hex[:8]}-{name}"
    try:
        try:
            with fsspec.core.OpenFile(files, temporary, mode, compression=_packing(uri), **options) as file:
                yield cast(IO[Any], file)
            if _is_local(files):
                with Path(temporary).open("rb") as done:
                    os.fsync(done.fileno())
                os.replace(temporary, path)
            else:
                files.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                files.rm(temporary)
            raise
    except (OSError, ImportError) as err:
        raise UserError(f"{uri}: cannot be written: {err}") from err


def _packing(uri: str) -> str | None:
    return _PACKED.get(PurePosixPath(uri).suffix)


def _is_local(files: Any) -> bool:
    protocols = files.protocol if isinstance(files.protocol, tuple) else (files.protocol,)
    return "file" in protocols
