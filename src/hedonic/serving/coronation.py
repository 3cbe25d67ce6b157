"""The proof that a release may be served: asked of the history, where it can be seen from here.

A bento holds its release, and any release that is whole can be baked into one by hand; an alias of a registry
is moved by hand as easily. The history says which release was promoted, and which is the champion. A process
that runs far from it has nobody to ask, and serves what its source names.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hedonic.errors import ReleaseRefused
from hedonic.served_settings import SourceSettings
from hedonic.serving.prediction_log_schema import file_of, shown
from hedonic.serving.source import Source

_BUSY_S = 5.0
_ALIAS = "@champion"
_CROWNING, _PARKED = ("promoted", "approved", "rolled_back"), "parked"
_KINDS = ", ".join(f"'{kind}'" for kind in (*_CROWNING, _PARKED))

_logger = logging.getLogger("hedonic.serving")


@dataclass(frozen=True, slots=True)
class _Known:
    """What the history says, oldest first, of all data sets or of one.

    Attributes:
        champions: the releases that were promoted, the present one last.
        registered: those, and the ones that were parked for a person.
    """

    champions: tuple[str, ...]
    registered: tuple[str, ...]

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]]) -> _Known:
        """Return what rows of kind and release say."""
        found = [(str(kind), str(release)) for kind, release in rows]
        champions = tuple(release for kind, release in found if kind in _CROWNING)
        return cls(champions, tuple(release for _, release in found))


def require_crowned(source: Source, settings: SourceSettings, *, starts: bool = False) -> None:
    """Refuse a release that the history says is not the one to be served.

    What is baked in must have been promoted; the pointer and an alias ``champion`` must name the champion;
    any other alias a release that was promoted or parked. The history is at HEDONIC_HISTORY_URL, or in
    HEDONIC_HOME. One that is not there, or cannot be asked now, refuses nothing.

    Args:
        source: what is to be served.
        settings: name the history.
        starts: whether nothing is served yet: then a pointer may be behind the history, for a process that
            was killed leaves it so, and an earlier champion is better than none.

    Raises:
        ReleaseRefused: the history answers, and says otherwise.
    """
    url = settings.history_url or (str(settings.home / "history.db") if settings.home else "")
    if source.kind not in ("baked", "champion", "registry") or not url:
        return
    try:
        known = _ask(url, source.dataset)
    except OSError as err:
        _logger.warning("whether the release was promoted is not known: history %s: %s", shown(url), err)
        return
    problem = _problem(source, known, shown(url), starts=starts) if known else None
    if problem:
        raise ReleaseRefused(f"release {source.release[:16]}: {problem}")


def _problem(source: Source, known: _Known, history: str, *, starts: bool) -> str | None:
    """Return why the history is against serving what the source names; None where it is not."""
    if source.kind == "baked":
        return None if source.release in known.champions else (
            f"baked into this bento, and the history {history} does not name it as promoted, so it is not "
            "served. Bentos come from a promoting run: `make run`."
        )  # fmt: skip
    if source.kind == "registry" and not source.uri.lower().endswith(_ALIAS):
        return None if source.release in known.registered else (
            f"{source.uri} names it, and the history {history} knows it neither as promoted nor as parked, "
            "so it is not served. Point the alias at a version that a run registered."
        )  # fmt: skip
    if source.kind == "champion" and starts and source.release in known.champions:
        return None
    champion = known.champions[-1] if known.champions else None
    return None if source.release == champion else (
        f"{source.uri} names it, and the champion of the history {history} is {(champion or 'none')[:16]}, "
        f"so it is not served. The champion is changed by a run or by `hedonic rollback {source.dataset}`; "
        f"`hedonic serve {source.dataset}` repairs what was moved by hand."
    )  # fmt: skip


def _ask(url: str, dataset: str | None) -> _Known | None:
    """Return what the history says of a data set, or of all; None where there is no history yet.

    Raises:
        OSError: it cannot be asked.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme.partition("+")[0] != "sqlite":
        return _asked_postgres(f"postgresql://{rest}", dataset)
    path = file_of(url)
    if not path.is_file():
        return None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
        try:
            query = _query("json_extract(body, '$.release')", dataset, "?")
            return _Known.of(connection.execute(query, _given(dataset)).fetchall())
        finally:
            connection.close()
    except sqlite3.Error as err:
        raise OSError(str(err)) from err


def _asked_postgres(url: str, dataset: str | None) -> _Known:
    import psycopg  # not at the top: most services never ask a Postgres

    try:
        with psycopg.connect(url, connect_timeout=int(_BUSY_S)) as connection:
            query = _query("body::json ->> 'release'", dataset, "%s")
            return _Known.of(connection.execute(query.encode(), _given(dataset)).fetchall())
    except psycopg.Error as err:
        raise OSError(" ".join(str(err).split())) from err


def _query(release: str, dataset: str | None, mark: str) -> str:
    of_one = f" AND dataset = {mark}" if dataset else ""
    return f"SELECT kind, {release} FROM hedonic_history WHERE kind IN ({_KINDS}){of_one} ORDER BY seq"  # noqa: S608


def _given(dataset: str | None) -> tuple[str, ...]:
    return (dataset,) if dataset else ()
