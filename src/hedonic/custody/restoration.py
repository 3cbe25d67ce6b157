"""The restoration: a home as an archive has it, verified before anything is put in place."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hedonic.custody.archive import ArchiveManifest, unpack
from hedonic.custody.backup import FOLDERS, LINES
from hedonic.custody.custody_lock import taking
from hedonic.custody.embedded_store import embedded_stores, files_of_store, move_places
from hedonic.errors import HedonicError, UserError
from hedonic.promotion.history import open_history
from hedonic.promotion.projection import project
from hedonic.served_settings import LogSettings
from hedonic.settings import Settings
from hedonic.supervisor import Supervisor
from hedonic.turn import Turn

_SCRATCH = ".restoring-"
_KEPT_RESULTS = "prefect/storage"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put in place.

    Attributes:
        replaced: the folder that holds what was there before; None where nothing was.
        n_moved: values of MLflow's store that named a place in the home that the archive was made of, and
            now name it in this one.
    """

    manifest: ArchiveManifest
    replaced: Path | None
    n_moved: int


def restore(settings: Settings, log: LogSettings, archive: Path, *, force: bool = False) -> Restored:
    """Return what was restored; pointer and aliases follow the history again.

    Nothing is put in place before every file was unpacked and verified, and the history comes last: a home
    that a kill left half restored has no champion, and can be restored again. What was there before is moved
    aside, not deleted.

    Args:
        settings: name the places.
        log: names the prediction log.
        archive: that ``backup.back_up`` wrote.
        force: also where something is kept already.

    Raises:
        UserError: something is kept here already, or runs; or there is no such archive.
        HedonicError: the archive is damaged or no backup; the home is as it was.
    """
    home = settings.home
    history, *others = embedded_stores(settings, log)
    if history.file is None:
        raise UserError(f"the history is at {history.server}: backups are of the embedded mode alone.")
    _refuse_running(settings)
    stores = {store.name: store.file for store in (*others, history) if store.file is not None}
    there = [home / name for name in (*FOLDERS, *LINES, _KEPT_RESULTS) if (home / name).exists()]
    there += [path for file in stores.values() for path in files_of_store(file)]
    if there and not force:
        raise UserError(
            f"{home}: something is kept here already ({', '.join(sorted(path.name for path in there))}). "
            "Nothing was changed. Set HEDONIC_HOME to another folder, or add --force: what is here is then "
            "moved aside."
        )
    home.mkdir(parents=True, exist_ok=True)
    with taking(home):
        for left in home.glob(f"{_SCRATCH}*"):  # by a restoration that was killed
            shutil.rmtree(left)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=home))
        try:
            manifest = unpack(archive, scratch)
            if history.name not in manifest.files:
                raise HedonicError(f"{archive}: holds no history. Nothing was changed; take another backup.")
            n_moved = _moved(scratch, manifest, home)
            replaced = _moved_aside(home, there) if there else None
            _put(scratch, home, stores)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    with closing(open_history(settings)) as opened:
        datasets = sorted({record.dataset for record in opened.records()})
    for dataset in datasets:
        project(settings, dataset)
    return Restored(manifest, replaced, n_moved)


def _refuse_running(settings: Settings) -> None:
    """Refuse while something of this home runs.

    Raises:
        UserError: all that does at once.
    """
    running = Supervisor(settings).names()
    for path in sorted((settings.home / "turns").glob("*.lock")):
        turn = Turn(settings.home, path.stem)
        holder = turn.take_if_free()
        turn.end()
        running += [f"a training of {path.stem} (process {holder})"] if holder is not None else []
    if running:
        raise UserError(
            f"{settings.home}: in use by {', '.join(running)}. Nothing was changed. Stop that first: "
            "`hedonic down`."
        )


def _moved(scratch: Path, manifest: ArchiveManifest, home: Path) -> int:
    """Return how many values of MLflow's store follow it from the one home into the other."""
    store = scratch / "mlflow" / "mlflow.db"
    before = Path(manifest.home)
    return move_places(store, before, home) if store.is_file() and before != home else 0


def _moved_aside(home: Path, there: list[Path]) -> Path:
    """Return the folder into which what was kept before has been moved."""
    aside = home / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z"
    for path in there:
        inside = path.relative_to(home) if path.is_relative_to(home) else Path(path.name)
        (aside / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, aside / inside)
    return aside


def _put(scratch: Path, home: Path, stores: dict[str, Path]) -> None:
    """Move everything to its place, the history last."""
    for name in (*FOLDERS, *LINES):
        if (scratch / name).exists():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).rename(home / name)
    for name, file in stores.items():
        if (scratch / name).is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(scratch / name, file)
