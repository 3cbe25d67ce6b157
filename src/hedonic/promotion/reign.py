"""The reign: the time during which a release was champion."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise

from hedonic.data.contract import Frozen
from hedonic.promotion.record import Record


class Reign(Frozen):
    """A release's time as champion.

    Attributes:
        record: made it champion, and says why.
        until: when another became champion, ISO 8601 in UTC; None while it is champion.
    """

    record: Record
    until: str | None

    @property
    def since(self) -> str:
        """Return when it became champion, ISO 8601 in UTC."""
        return self.record.at


def reigns(records: Iterable[Record]) -> tuple[Reign, ...]:
    """Return the reigns of a data set, one after the other.

    Args:
        records: of the data set, oldest first.
    """
    crowns = [record for record in records if record.crowns]
    return tuple(
        Reign(record=record, until=following.at if following else None)
        for record, following in pairwise([*crowns, None])
        if record is not None
    )


def reign_at(records: Iterable[Record], time: datetime) -> Reign | None:
    """Return the reign that a time falls into; None when there was no champion yet.

    Args:
        records: of the data set, oldest first.
        time: with its zone.
    """
    begun = [reign for reign in reigns(records) if datetime.fromisoformat(reign.since) <= time]
    return begun[-1] if begun else None
