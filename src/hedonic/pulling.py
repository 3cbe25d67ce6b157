"""Pulling: the champion of a shared history brought to this machine from the release store."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.manifest import verify_release
from hedonic.promotion.history import open_history
from hedonic.promotion.record import Record
from hedonic.promotion.release import publish
from hedonic.serving.release_copy import discard, fetch
from hedonic.settings import Settings


@dataclass(frozen=True, slots=True)
class Pulled:
    """The champion's record and the folder of its release; both None where there is no champion yet."""

    champion: Record | None
    folder: Path | None


def pull_champion(settings: Settings, dataset: str, *, bootstrap: bool = False) -> Pulled:
    """Return the champion that the shared history names, its release copied here and verified.

    A machine that begins with nothing must not take an unreachable champion for none: the first candidate
    would be promoted without a comparison.

    Args:
        settings: name the history and the store; neither has a default here.
        dataset: whose champion.
        bootstrap: whether there may be no champion yet, and then no store or history either. One that is
            configured must answer all the same, and a champion that is there is pulled.

    Raises:
        HedonicError: history or store is not configured, cannot be reached, or holds no champion.
        WrongEnvironment: the history is another environment's.
        ReleaseRefused: the release in the store is not whole, or is not the champion's.
    """
    unset = [
        name
        for name, url in (
            ("HEDONIC_HISTORY_URL", settings.history_url),
            ("HEDONIC_STORE_URL", settings.store_url),
        )
        if not url
    ]
    if not settings.history_url or not settings.store_url:  # CI passes what nobody set as an empty text
        if bootstrap and len(unset) == 2:
            return Pulled(None, None)
        raise HedonicError(
            f"{dataset}: the champion cannot be pulled: {' and '.join(unset)} not set. Set both; where there "
            "is no champion anywhere yet, set none and say so with --bootstrap."
        )
    champion = _champion(settings, dataset, bootstrap=bootstrap)
    if champion is None or champion.release is None:
        return Pulled(None, None)
    folder = settings.releases / dataset / champion.release
    return Pulled(champion, _fetch(settings.store_url, dataset, champion.release, folder))


def _champion(settings: Settings, dataset: str, *, bootstrap: bool) -> Record | None:
    where = _shown(settings.history)
    _require_file(settings.history, bootstrap=bootstrap)
    with closing(open_history(settings)) as history:
        history.require_environment()
        champion = history.champion(dataset)
        problems = history.verify_chain()
    if problems:
        raise HedonicError(f"history {where}: {'; '.join(problems)}. Restore it from a backup.")
    if champion is None and not bootstrap:
        raise HedonicError(
            f"{dataset}: the history {where} names no champion. Look whether it is the right one; where "
            "there is no champion yet, say so with --bootstrap."
        )
    return champion


def _require_file(url: str, *, bootstrap: bool) -> None:
    """Refuse a SQLite file that is not there: opened, it would be an empty history."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return  # the history says what is wrong with it
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database
    if is_file and not bootstrap and not Path(str(parsed.database)).is_file():
        raise HedonicError(f"history {_shown(url)}: there is no such file. Look at HEDONIC_HISTORY_URL.")


def _fetch(store: str, dataset: str, release: str, folder: Path) -> Path:
    """Return the folder of the release, copied from the store unless it is here; whole, or not at all."""
    url = f"{store.rstrip('/')}/{dataset}/{release}"
    scheme = urlsplit(store).scheme
    if folder.is_dir():
        verify_release(folder)
        return folder
    if scheme in ("", "file"):
        _copy(Path(unquote(urlsplit(url).path) if scheme else url), folder)
    else:
        fetch(url, release, folder)
    try:
        verify_release(folder)
    except ReleaseRefused:
        discard(folder)
        raise
    return folder


def _copy(source: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder.parent))
    try:
        shutil.copytree(source, scratch / folder.name, symlinks=True)
        publish(scratch / folder.name, folder)
    except OSError as err:
        raise HedonicError(
            f"{source}: the champion's release cannot be copied from the store: {err}. Look at "
            "HEDONIC_STORE_URL."
        ) from err
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(not a URL)"
