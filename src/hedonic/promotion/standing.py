"""The standing of a release: candidate, challenger, champion, archived or rejected, as its records say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal

from hedonic.errors import HedonicError
from hedonic.promotion.record import Entry, RecordKind

Standing = Literal["candidate", "challenger", "champion", "archived", "rejected"]
"""Of a release, and of the judged model that it came from.

candidate: no verdict holds, for there was none, or the champion that it was about is no longer champion.
challenger: the gate passed it, and a person has yet to approve it.
champion: it is what is served.
archived: it was champion.
rejected: the gate's last verdict, or a person, was against it.
"""

ALLOWED: Final[Mapping[RecordKind, tuple[Standing, ...]]] = MappingProxyType(
    {
        "promoted": ("candidate", "challenger", "archived", "rejected"),
        "parked": ("candidate", "challenger", "archived", "rejected"),
        "approved": ("challenger",),
        "rejected": ("challenger",),
        "rolled_back": ("archived",),
        "collected": ("candidate", "archived", "rejected"),
    }
)
"""The standings from which a record of that kind may be written about a release; others may always be."""


class IllegalTransition(HedonicError):
    """A record does not fit the standing of the release that it is about."""


def standings(records: Iterable[Entry]) -> dict[str, Standing]:
    """Return the standing of every release and judged model that the records name, by digest.

    Args:
        records: of one data set, oldest first.
    """
    found: dict[str, Standing] = {}
    released: dict[str, str] = {}
    for record in records:
        about = record.release
        if record.kind in ("kept", "refused") and record.candidate is not None:
            about = released.get(record.candidate, record.candidate)
            if found.get(about) not in ("champion", "archived"):
                found[about] = "rejected"
        if record.release is None or about is None:
            continue
        if record.candidate is not None and (record.crowns or record.kind == "parked"):
            released[record.candidate] = record.release
        if record.crowns:
            for other, standing in found.items():
                found[other] = _beside_a_new_champion(standing)
            found[about] = "champion"
        elif record.kind == "parked":
            found[about] = "challenger"
        elif record.kind == "rejected":
            found[about] = "rejected"
    return found | {judged: found[release] for judged, release in released.items()}


def require_allowed(entry: Entry, records: Iterable[Entry]) -> None:
    """Refuse an entry that does not fit the standing of its release.

    Args:
        entry: about to be appended.
        records: of its data set, oldest first.

    Raises:
        IllegalTransition: it does not fit.
    """
    allowed = ALLOWED.get(entry.kind)
    if allowed is None or entry.release is None:
        return
    standing = standings(records).get(entry.release, "candidate")
    if standing not in allowed:
        raise IllegalTransition(
            f"{entry.dataset}: release {entry.release[:12]} is {standing}; only one that is "
            f"{' or '.join(allowed)} can be {entry.kind.replace('_', ' ')}. Nothing was changed; "
            f"`hedonic history {entry.dataset}` shows how it came to that."
        )


def _beside_a_new_champion(standing: Standing) -> Standing:
    """Return what another release is now: what was said of a challenger was about the old champion."""
    if standing == "champion":
        return "archived"
    return "candidate" if standing == "challenger" else standing
