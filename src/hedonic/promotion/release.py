"""The release: a folder written whole or not at all, that nothing but its manifest describes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract, dump_contract
from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.manifest import (
    CONTRACT,
    GOLDEN,
    JUDGED,
    MANIFEST,
    MODEL,
    RECORD,
    SEEN_ROWS,
    Golden,
    Manifest,
    ManifestFacts,
    ReleaseRecord,
    digest_files,
    verify_release,
)


class SavedModel(Protocol):
    """What a release needs of a model; ``PortableModel`` is one."""

    @property
    def contract(self) -> Contract:
        """Return the contract that the model was made for."""

    def save(self, folder: Path) -> None:
        """Write the model into ``folder``, which is made."""


@dataclass(frozen=True, slots=True)
class ReleaseContent:
    """What goes into a release.

    Attributes:
        model: what is served.
        judged: the model that the gate judged, where the served one was refitted after it.
        seen_rows: hashes of the rows that the judged model saw in train and calibration.
        golden: rows with the answers of ``model``.
        facts: what all this was made from.
    """

    model: SavedModel
    judged: SavedModel | None
    seen_rows: npt.NDArray[np.uint64]
    golden: Golden
    facts: ManifestFacts


def write_release(store: Path, content: ReleaseContent) -> Path:
    """Return the folder of the release, ``<store>/<data set>/<release digest>``, after writing it.

    It appears whole, by a rename, once every byte is on the disk. The same content is the same
    release: a folder that is there already and intact is returned as it is.

    Raises:
        ReleaseRefused: the content does not fit together, or a folder of that digest is damaged.
    """
    _check(content)
    home = store / content.facts.dataset
    home.mkdir(parents=True, exist_ok=True)
    with _scratch(home) as scratch:
        content.model.save(scratch / MODEL)
        if content.judged is not None:
            content.judged.save(scratch / JUDGED)
        (scratch / CONTRACT).write_text(dump_contract(content.model.contract), encoding="utf-8")
        (scratch / GOLDEN).write_text(content.golden.to_json(), encoding="utf-8")
        np.save(scratch / SEEN_ROWS, np.unique(content.seen_rows.astype(np.uint64)))
        manifest = Manifest(**dict(content.facts), files=digest_files(scratch))
        (scratch / MANIFEST).write_bytes(manifest.to_bytes())
        verify_release(scratch, manifest.digest)
        folder = home / manifest.digest
        if folder.exists():
            verify_release(folder)
            return folder
        publish(scratch, folder)
    return folder


def write_record(folder: Path, record: ReleaseRecord) -> None:
    """Write who made the release, when and in which run; a record that is there is replaced whole.

    Raises:
        ReleaseRefused: the record is about another release.
    """
    if record.release != folder.name:
        raise ReleaseRefused(f"release {folder.name}: the record is about {record.release}")
    with _scratch(folder.parent) as scratch:
        path = scratch / RECORD
        path.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        _sync(path)
        path.replace(folder / RECORD)
        _sync(folder)


def publish(scratch: Path, folder: Path) -> None:
    """Move a finished folder to its place, every byte on the disk before and the move after."""
    for path in sorted(scratch.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        _sync(path)
    scratch.chmod(0o755)
    _sync(scratch)
    try:
        scratch.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        # Another process published the same digest between the look and the rename.
    _sync(folder.parent)


def _check(content: ReleaseContent) -> None:
    """Refuse content that is not about one data set."""
    names = [content.model.contract.name, content.facts.dataset]
    names += [content.judged.contract.name] if content.judged is not None else []
    if len(set(names)) != 1:
        raise ReleaseRefused(f"a release is of one data set; got {', '.join(names)}")
    if len(content.golden.instances) != len(content.golden.answers):
        raise ReleaseRefused(
            f"{content.facts.dataset}: {len(content.golden.instances)} golden rows but "
            f"{len(content.golden.answers)} answers"
        )


@contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """Return a folder to write in, on the same file system; what is left in it is removed."""
    folder = Path(tempfile.mkdtemp(prefix=".writing-", dir=home))
    try:
        yield folder
    except OSError as err:
        # Of a full disk numpy says no more than "24480 requested and 22512 written".
        raise HedonicError(f"{home}: cannot be written: {err}. Is the disk full?") from err
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
