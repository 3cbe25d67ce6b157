"""The backup: all that is kept in the embedded mode, in one archive, while everything goes on running."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from hedonic.custody.archive import ArchiveManifest, ArchiveWriter, new_archive
from hedonic.custody.custody_lock import looking
from hedonic.custody.embedded_store import copy_store, embedded_stores
from hedonic.custody.holding import SCRATCH
from hedonic.errors import UserError
from hedonic.promotion.history import History
from hedonic.served_settings import LogSettings
from hedonic.settings import Settings

FOLDERS = (
    "releases", "bentoml/bentos", "candidates", "snapshots", "validations", "reports", "steps", "serving",
    "watch", "gx", "data_docs", "mlflow/artifacts",
)  # fmt: skip
"""What is backed up of a home beside its stores. Logs, sockets, locks, fetched copies and Prefect's own
store are not: they are made again, and a supervised process's file may hold a token."""

LINES = ("optuna/studies.journal", "alerts.jsonl")
"""Files that lines are added to, by others than us: they are copied to the end of their last whole line."""

_TRIAL = ".traffic"


def back_up(settings: Settings, log: LogSettings, target: Path) -> tuple[Path, ArchiveManifest]:
    """Return the archive that was written, and what it holds.

    MLflow's store is copied first, then the history: a registry that is behind its history is repaired at the
    next start, and one that is ahead of it would vouch for records that are lost. The folders come last: what
    the history names then is there, for nothing is collected meanwhile.

    Args:
        settings: name the places.
        log: names the prediction log.
        target: the file to be written, or a folder for a file named by the time.

    Raises:
        UserError: there is nothing to back up, the history is a server's, or the file is there already.
        HedonicError: something cannot be read, or the archive not written.
    """
    made_at = datetime.now(UTC)
    path = target / f"hedonic-{made_at:%Y%m%dT%H%M%SZ}.tar.gz" if target.is_dir() else target
    if path.exists():
        raise UserError(f"{path}: is there already, and a backup is never overwritten. Name another file.")
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder. Make it, or name another.")
    history, answers, registry = embedded_stores(settings, log)
    if history.file is None:
        raise UserError(
            f"the history is at {history.server}: backups are of the embedded mode. Back up that server with "
            "its own tools, and HEDONIC_STORE_URL with those of the store."
        )
    if not history.file.is_file():
        raise UserError(f"{history.file}: no history yet, so there is nothing to back up.")
    with (
        looking(settings.home),
        tempfile.TemporaryDirectory(prefix="hedonic-backup-") as scratch,
        new_archive(path) as archive,
    ):
        copy = Path(scratch) / history.name
        for store in (registry, history, answers):
            if store.file is not None and store.file.is_file():
                copy_store(store.file, Path(scratch) / store.name)
                archive.add(store.name, Path(scratch) / store.name)
        _add_files(settings.home, archive, path)
        with closing(History(f"sqlite:///{copy}")) as copied:
            head = copied.head()
            datasets = {record.dataset for record in copied.records()}
            champions = {name: copied.champion(name) for name in sorted(datasets)}
        manifest = ArchiveManifest(
            made_at=made_at.isoformat(timespec="seconds"),
            home=str(settings.home),
            head=head.hash if head else None,
            champions={name: c.release for name, c in champions.items() if c is not None and c.release},
            left_out=tuple(
                f"{store.name}: in {store.server}" for store in (answers, registry) if not store.file
            ),
            files=archive.files,
        )
        archive.seal(manifest)
    return path, manifest


def _add_files(home: Path, archive: ArchiveWriter, written: Path) -> None:
    for path in _files(home):
        if path.resolve() != written.resolve():
            archive.add(path.relative_to(home).as_posix(), path)
    for name in LINES:
        if (home / name).is_file():
            archive.add(name, home / name, _whole_lines(home / name))


def _files(home: Path) -> Iterator[Path]:
    """Yield the files below the folders that are backed up, but what is being written now."""
    for folder in FOLDERS:
        for path in sorted((home / folder).rglob("*")):
            parts = path.relative_to(home).parts
            hidden = any(part.startswith(SCRATCH) for part in parts)
            temporary = path.name.startswith(".") and folder != "gx"  # which has a .gitignore
            trial = folder == "serving" and _TRIAL in path.name
            if path.is_file() and not (hidden or temporary or trial or "__pycache__" in parts):
                yield path


def _whole_lines(path: Path) -> int:
    """Return the length of the file without a last line that is still being written."""
    content = path.read_bytes()
    return content.rfind(b"\n") + 1
