"""The approval: a person's decision on a release that the gate passed and the contract parks."""

from __future__ import annotations

from pathlib import Path

from hedonic.errors import UserError
from hedonic.model.manifest import verify_release
from hedonic.promotion.history import History
from hedonic.promotion.record import Entry, Record
from hedonic.promotion.release_version import release_version
from hedonic.promotion.standing import standings


def find_parked(
    history: History, releases: Path, dataset: str, *, release: str | None = None, version: str | None = None
) -> Record:
    """Return the parked verdict that a person means.

    It may be one that no longer waits, for the champion moved: deciding on it says so.

    Args:
        history: where it is parked.
        releases: the folder of releases.
        dataset: the data set.
        release: the first digits of its release; by default the only one that waits.
        version: of the registered model, instead.

    Raises:
        UserError: there is none, or more than one.
    """
    records = history.records(dataset)
    known = standings(records)
    parked = {record.release: record for record in records if record.kind == "parked" and record.release}
    if release is not None or version is not None:
        asked = f"release {release}" if release is not None else f"version {version}"
        found = [
            record
            for digest, record in parked.items()
            if (release is None or digest.startswith(release.lower()))
            and (version is None or _version(releases, record) == version)
        ]
        if len(found) != 1:
            raise UserError(
                f"{dataset}: {len(found) or 'no'} parked verdicts are about {asked}. {_told(parked)}"
            )
        return found[0]
    waiting = [record for digest, record in parked.items() if known[digest] == "challenger"]
    if len(waiting) > 1:
        raise UserError(
            f"{dataset}: {len(waiting)} verdicts await approval: choose one with --release. {_told(parked)}"
        )
    if waiting:
        return waiting[0]
    last = max(parked.values(), key=lambda record: record.seq, default=None)
    if last is None or known[last.release or ""] != "candidate":
        raise UserError(f"{dataset}: no verdict awaits approval. {_told(parked)}")
    return last


def approve(history: History, releases: Path, parked: Record, *, actor: str, reason: str) -> Record:
    """Return the record that makes a parked release champion, appended in one transaction.

    Raises:
        ReleaseRefused: the release is no longer what it was when it was judged; nothing was written.
        StaleChampion: the champion is not the one that it was judged against; nothing was written.
        IllegalTransition: it no longer waits; nothing was written.
    """
    verify_release(_folder(releases, parked), parked.release)
    return history.append(_decision(parked, "approved", actor, reason), expected_champion=parked.incumbent)


def reject(history: History, parked: Record, *, actor: str, reason: str) -> Record:
    """Return the record that refuses a parked release.

    Raises:
        IllegalTransition: it no longer waits; nothing was written.
    """
    return history.append(_decision(parked, "rejected", actor, reason))


def _decision(parked: Record, kind: str, actor: str, reason: str) -> Entry:
    about = parked.model_dump(include=set(Entry.model_fields))
    return Entry.model_validate(about | {"kind": kind, "actor": actor, "reason": reason})


def _folder(releases: Path, record: Record) -> Path:
    return releases / record.dataset / (record.release or "")


def _version(releases: Path, record: Record) -> str | None:
    """Return the version of the registered model that a release became; None where its record is gone."""
    return release_version([record], record.release or "", _folder(releases, record))


def _told(parked: dict[str, Record]) -> str:
    """Return what was parked, as a hint."""
    names = ", ".join(f"{digest[:12]} ({record.at[:16]})" for digest, record in parked.items())
    return f"Parked so far: {names or 'none'}."
