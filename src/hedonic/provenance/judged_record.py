"""The judged record: the one record of the history that somebody means by a version or a digest."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hedonic.errors import ReleaseRefused, UserError
from hedonic.model.manifest import read_record
from hedonic.promotion.record import CROWNING, JUDGED, Record
from hedonic.settings import Settings

LEAST_DIGITS = 6
_SHOWN = 20


def find_judged(settings: Settings, dataset: str, version: str | None, history: Sequence[Record]) -> Record:
    """Return the verdict on a version; without one, that which made the present champion.

    Args:
        settings: name the releases, whose records tell the versions of an older history.
        dataset: the data set.
        version: of the registered model, or the beginning of a release's or a candidate's digest.
        history: of the data set, oldest first.

    Raises:
        UserError: there is none, or several begin so; those that there are are listed.
    """
    judged = [record for record in history if record.kind in JUDGED]
    if not judged:
        raise UserError(f"{dataset}: nothing was judged yet. Run: hedonic run {dataset}")
    if version is None:
        return _champion(dataset, judged, history)
    if version.isdecimal() and len(version) < LEAST_DIGITS:
        found = [record for record in judged if _version(settings, record) == int(version)]
    elif re.fullmatch(r"[0-9a-f]+", version) and len(version) >= LEAST_DIGITS:
        found = [r for r in judged if any((d or "").startswith(version) for d in (r.release, r.candidate))]
        digests = {record.release or record.candidate for record in found}
        if len(digests) > 1:
            told = ", ".join(sorted(f"{digest}"[:16] for digest in digests))
            raise UserError(f"{dataset}: {version}: several begin so: {told}. Give more of its digest.")
    else:
        raise UserError(
            f"{dataset}: {version}: is neither the number of a model version nor {LEAST_DIGITS} or more hex "
            "digits of the digest of a release or a candidate."
        )
    if not found:
        there = ", ".join(_name(settings, record) for record in judged[-_SHOWN:])
        raise UserError(f"{dataset}: {version}: nothing of that name was judged. There: {there}.")
    return found[-1]


def _champion(dataset: str, judged: Sequence[Record], history: Sequence[Record]) -> Record:
    crowned = next((r.release for r in reversed(history) if r.kind in CROWNING), None)
    found = [record for record in judged if record.release == crowned and crowned]
    if not found:
        raise UserError(f"{dataset}: there is no champion. Name a version; the last judged is no champion.")
    return found[-1]


def _version(settings: Settings, record: Record) -> int | None:
    """Return the number of the model version; an older history has it beside the release alone."""
    if record.version is not None or record.release is None:
        return record.version
    try:
        beside = read_record(settings.releases / record.dataset / record.release)
    except ReleaseRefused:
        return None
    return int(beside.version) if beside and beside.version else None


def _name(settings: Settings, record: Record) -> str:
    version = _version(settings, record)
    digest = (record.release or record.candidate or "")[:12]
    return f"{version} ({record.kind}, {digest})" if version is not None else f"{digest} ({record.kind})"
