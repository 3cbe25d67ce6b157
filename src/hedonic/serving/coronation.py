"""The proof that a baked release was promoted: asked of the history, where it can be seen from here.

A bento holds its release, and any release that is whole can be baked into one by hand. The history says
which were promoted. An image that runs far from it has nobody to ask, and serves what it holds.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence

from hedonic.errors import ReleaseRefused
from hedonic.served_settings import SourceSettings
from hedonic.serving.prediction_log_schema import file_of, shown
from hedonic.serving.source import Source

_BUSY_S = 5.0
_TOLD = "SELECT COUNT(*) FROM hedonic_history WHERE kind IN ('promoted', 'approved', 'rolled_back') AND "

_logger = logging.getLogger("hedonic.serving")


def require_promoted(source: Source, settings: SourceSettings) -> None:
    """Refuse a release that is baked into a bento and that the history never promoted.

    The history is at HEDONIC_HISTORY_URL, or in HEDONIC_HOME. One that is not there, or cannot be asked now,
    refuses nothing: what is in the bento is verified all the same.

    Raises:
        ReleaseRefused: the history answers, and does not name the release as promoted.
    """
    url = settings.history_url or (str(settings.home / "history.db") if settings.home else "")
    if source.kind != "baked" or not url:
        return
    try:
        promoted = _is_promoted(url, source.release)
    except OSError as err:
        _logger.warning("whether the release was promoted is not known: history %s: %s", shown(url), err)
        return
    if promoted is False:
        raise ReleaseRefused(
            f"release {source.release[:16]}: baked into this bento, and the history {shown(url)} does not "
            "name it as promoted, so it is not served. Bentos come from a promoting run: `make run`."
        )


def _is_promoted(url: str, release: str) -> bool | None:
    """Return whether the history promoted the release; None where there is no history yet.

    Raises:
        OSError: it cannot be asked.
    """
    scheme, separator, rest = url.partition("://")
    if separator and scheme.partition("+")[0] != "sqlite":
        return _asked_postgres(f"postgresql://{rest}", release)
    path = file_of(url)
    if not path.is_file():
        return None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
        try:
            found = connection.execute(f"{_TOLD} json_extract(body, '$.release') = ?", (release,))
            return _any(found.fetchall())
        finally:
            connection.close()
    except sqlite3.Error as err:
        raise OSError(str(err)) from err


def _asked_postgres(url: str, release: str) -> bool:
    import psycopg  # not at the top: most services never ask a Postgres

    try:
        with psycopg.connect(url, connect_timeout=int(_BUSY_S)) as connection:
            found = connection.execute(f"{_TOLD} body::json ->> 'release' = %s", (release,))
            return _any(found.fetchall())
    except psycopg.Error as err:
        raise OSError(" ".join(str(err).split())) from err


def _any(rows: Sequence[Sequence[int]]) -> bool:
    return bool(rows and rows[0][0])
