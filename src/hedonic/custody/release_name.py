"""The name of a release as people give it: the beginning of its digest, or its model version."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from hedonic.errors import UserError
from hedonic.promotion.history import is_begun, open_history
from hedonic.promotion.record import Record
from hedonic.promotion.release_version import release_version
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
        version: of MLflow's registered model, as the history has it; where it has none, as the release's own
            record does.

    Raises:
        UserError: there is none, or more than one.
    """
    given = f"release {digest}" if digest is not None else f"version {version}"
    records = _records(settings)
    found = [
        name
        for name in _all(settings, records)
        if dataset in (None, name.dataset)
        and (
            name.digest.startswith(digest)
            if digest is not None
            else _version(settings, records, name) == version
        )
    ]
    if len(found) == 1:
        return found[0]
    told = ", ".join(f"{name.dataset} {name.digest[:16]}" for name in found[:5]) or "none"
    fix = "Give more of its digest, or the data set" if found else "`hedonic verify` lists them"
    raise UserError(f"{given}{f' of {dataset}' if dataset else ''}: not one release; found: {told}. {fix}.")


def _records(settings: Settings) -> tuple[Record, ...]:
    if not is_begun(settings):
        return ()
    with closing(open_history(settings)) as history:
        return history.records()


def _all(settings: Settings, records: Sequence[Record]) -> list[ReleaseName]:
    found = {
        ReleaseName(path.parent.name, path.name)
        for path in settings.releases.glob("*/*")
        if path.is_dir() and not path.name.startswith(".")
    }
    found |= {ReleaseName(r.dataset, r.release) for r in records if r.release is not None}
    return sorted(found, key=lambda name: (name.dataset, name.digest))


def _version(settings: Settings, records: Sequence[Record], name: ReleaseName) -> str | None:
    of_dataset = (record for record in records if record.dataset == name.dataset)
    return release_version(of_dataset, name.digest, settings.releases / name.dataset / name.digest)
