"""The recording of a verdict: also of one that another promotion overtook."""

from __future__ import annotations

from hedonic.promotion.history import History, StaleChampion
from hedonic.promotion.record import Entry, Record
from hedonic.promotion.verdict import STALE, Finding, Verdict


def record_entry(history: History, entry: Entry, verdict: Verdict, champion: str | None) -> Record:
    """Return the record of a verdict, appended in one transaction.

    Where another release became champion since, the verdict is about a comparison that nobody asks any
    more: it is recorded with that reason, promotes nothing, and the undertaking is judged again when it
    comes again.

    Args:
        history: of all data sets.
        entry: with the verdict and, behind a promoting one, release and bento.
        verdict: the entry's.
        champion: the release that the candidate was judged against; None for none.
    """
    try:
        return history.append(entry, expected_champion=champion)
    except StaleChampion as err:
        overtaken = verdict.joined_by(Finding(check=STALE, outcome="issue", sentence=str(err)))
        changes = {
            "kind": overtaken.kind,
            "verdict": overtaken,
            "release": None,
            "bento": None,
            "recipe": None,
        }
        return history.append(entry.model_copy(update=changes))
