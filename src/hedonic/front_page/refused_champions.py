"""Refused champions: the history names one, and its endpoint serves another or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from hedonic.front_page.composition import Facts
from hedonic.monitoring.alerts import Alert
from hedonic.rollback.alerts import refused_alert
from hedonic.rollback.refused_champion import damage


def refused_champions(facts: Facts, since: dict[str, datetime], after: timedelta) -> Iterator[Alert]:
    """Yield an alert for each champion that its endpoint refuses: another is served, or none is.

    Args:
        facts: what is so now.
        since: since when each data set's champion is not served; kept from one round to the next.
        after: a champion that is not served for so long is refused: a roll-out takes seconds.
    """
    for name, book in facts.books.items():
        champion, look = book.champion, facts.served.get(name)
        if champion is None or look is None or (look.at is None and look.problem is None):
            continue
        serves = look.told if look.problem is None else None
        if serves == champion.release:
            since.pop(name, None)
            continue
        if facts.at - since.setdefault(name, facts.at) < after:
            continue
        why = damage(facts.settings, champion)
        if why is None and serves is not None:
            why = f"Its endpoint serves release {serves[:16]} and refuses this one, or cannot take it."
        if why is not None:  # else nothing answers for another reason, which is told as that
            yield refused_alert(name, why)


def serves_champion(alert: Alert, facts: Facts) -> bool:
    """Return whether the champion that the alert is about is served now, or there is none any more."""
    book, look = facts.books.get(alert.dataset or ""), facts.served.get(alert.dataset or "")
    if book is None or book.champion is None:
        return True
    return look is not None and look.problem is None and look.told == book.champion.release
