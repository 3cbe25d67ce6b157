"""The name of a release as people give it: the beginning of its digest, or its model version."""

from __future__ import annotations

from dataclasses import dataclass

from hedonic.errors import HedonicError, UserError
from hedonic.model.manifest import read_record
from hedonic.promotion.history import is_begun, open_history
from hedonic.settings import Settings


@dataclass(frozen=True, slots=True)
class ReleaseName:
    """A release of a data set."""

    dataset: str
    digest: str


def find_release(
    settings: Settings, dataset: str | None, *, digest: str | None = None, version: str | None = None
) -> ReleaseName:
    """Return the one release that the history names or that is kept, by either.

    Args:
        settings: name the places.
        dataset: of this one; None: of any.
        digest: its beginning.
        version: of MLflow's registered model, as the release's record has it.

    Raises:
        UserError: there is none, or more than one.
    """
    given = f"release {digest}" if digest is not None else f"version {version}"
    found = [
        name
        for name in _all(settings)
        if dataset in (None, name.dataset)
        and (name.digest.startswith(digest) if digest is not None else _version(settings, name) == version)
    ]
    if len(found) == 1:
        return found[0]
    told = ", ".join(f"{name.dataset} {name.digest[:16]}" for name in found[:5]) or "none"
    fix = "Give more of its digest, or the data set" if found else "`hedonic verify` lists them"
    raise UserError(f"{given}{f' of {dataset}' if dataset else ''}: not one release; found: {told}. {fix}.")


def _all(settings: Settings) -> list[ReleaseName]:
    found = {
        ReleaseName(path.parent.name, path.name)
        for path in settings.releases.glob("*/*")
        if path.is_dir() and not path.name.startswith(".")
    }
    if is_begun(settings):
        history = open_history(settings)
        try:
            found |= {ReleaseName(r.dataset, r.release) for r in history.records() if r.release is not None}
        finally:
            history.close()
    return sorted(found, key=lambda name: (name.dataset, name.digest))


def _version(settings: Settings, name: ReleaseName) -> str | None:
    try:
        record = read_record(settings.releases / name.dataset / name.digest)
    except HedonicError:  # told by whoever verifies it
        return None
    return record.version if record is not None else None
