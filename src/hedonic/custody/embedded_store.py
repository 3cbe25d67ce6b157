"""The embedded stores: SQLite files, copied whole while others write, and put in place of one another."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from hedonic.errors import HedonicError
from hedonic.served_settings import LogSettings
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.settings import Settings

_BUSY_S = 60.0
_BESIDE = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class EmbeddedStore:
    """An SQLite store.

    Attributes:
        name: in an archive.
        file: where it is; None where the settings name a server instead.
        server: how the server is named then.
    """

    name: str
    file: Path | None
    server: str = ""


def embedded_stores(settings: Settings, log: LogSettings) -> tuple[EmbeddedStore, ...]:
    """Return the stores: the history, the prediction log, and MLflow's."""
    url = make_url(settings.history)
    is_file = url.get_backend_name() == "sqlite" and bool(url.database)
    told = url.render_as_string(hide_password=True)
    answers = PredictionLogStore(log.store_below(settings.home), at_once=False)
    tracking = settings.tracking_uri
    runs = Path(tracking.removeprefix("sqlite:///")) if tracking.startswith("sqlite:///") else None
    return (
        EmbeddedStore("history.db", Path(str(url.database)) if is_file else None, told),
        EmbeddedStore(
            "prediction_log.db", answers.file if answers.is_file else None, "HEDONIC_PREDICTION_LOG_URL"
        ),
        EmbeddedStore("mlflow/mlflow.db", runs, tracking),
    )


def copy_store(file: Path, target: Path) -> None:
    """Write the store as it is at one moment to ``target``, whoever writes to it meanwhile.

    Raises:
        HedonicError: it cannot be read, or is not sound.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            contextlib.closing(sqlite3.connect(file, timeout=_BUSY_S)) as source,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            answer = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as err:
        answer = str(err)
    if answer != "ok":
        raise HedonicError(f"{file}: cannot be backed up: {answer}. Nothing was written.")


def files_of_store(file: Path) -> tuple[Path, ...]:
    """Return the files of a store that are there: itself, and what SQLite keeps beside it."""
    return tuple(
        path for path in (file, *(file.with_name(file.name + end) for end in _BESIDE)) if path.exists()
    )


def move_places(file: Path, before: Path, now: Path) -> int:
    """Return how many values of the store named a place below ``before`` and now name it below ``now``."""
    pairs = (  # as URIs, in JSON, and bare at the beginning
        (f"{before.as_uri()}/", f"{now.as_uri()}/", "instr({0}, ?) > 0"),
        (f'"{before}/', f'"{now}/', "instr({0}, ?) > 0"),
        (f"{before}/", f"{now}/", "instr({0}, ?) = 1"),
    )
    moved = 0
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, name, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                if not kind.upper().startswith(("VARCHAR", "TEXT")):
                    continue
                column = f'"{name}"'
                for old, new, where in pairs:
                    change = f'UPDATE "{table}" SET {column} = replace({column}, ?, ?) WHERE '  # noqa: S608
                    done = connection.execute(change + where.format(column), (old, new, old))
                    moved += done.rowcount
    return moved
