"""The repair at every start: the projections follow the history again, and what had been moved is told."""

from __future__ import annotations

from contextlib import closing

from hedonic.errors import HedonicError
from hedonic.monitoring.alerts import Alert, AlertBook
from hedonic.promotion.agreement import UNBELIEVED, Disagreement
from hedonic.promotion.history import open_history
from hedonic.promotion.pointer import read_pointer
from hedonic.promotion.projection import project
from hedonic.settings import Settings


def repair(settings: Settings, dataset: str) -> tuple[Disagreement, ...]:
    """Return where MLflow differed from the history, once it is repaired and somebody was told.

    What was found in order settles what an earlier repair had told.
    """
    found = project(settings, dataset)
    book = AlertBook(settings)
    kinds = {one.kind for one in found}
    for one in found:
        if one.kind == "alias-moved":
            book.raise_(
                Alert(
                    kind="alias-moved",
                    severity="warning",
                    key=f"alias-moved:{dataset}",
                    dataset=dataset,
                    title=f"{dataset}: MLflow's alias champion was moved by hand",
                    text=one.sentence,
                )
            )
        elif one.kind in ("history-truncated", "history-broken"):
            told = "lacks records" if one.kind == "history-truncated" else "was changed"
            book.raise_(
                Alert(
                    kind=one.kind,
                    severity="critical",
                    key=f"{one.kind}:{dataset}",
                    dataset=dataset,
                    title=f"{dataset}: the history {told}",
                    text=one.sentence,
                )
            )
    for kind in ("alias-moved", *UNBELIEVED):
        if kind not in kinds:
            book.settle(f"{kind}:{dataset}")
    return found


def repair_if_behind(settings: Settings, dataset: str) -> None:
    """Repair the projections where a run was killed before it wrote the pointer; a look costs little."""
    with closing(open_history(settings)) as history:
        champion = history.champion(dataset)
    pointer = read_pointer(settings.home, dataset)
    if champion is not None and (pointer is None or pointer.release != champion.release):
        repair(settings, dataset)


def require_repaired(settings: Settings, dataset: str) -> None:
    """Return once the projections follow the history and something can be added to it.

    Raises:
        HedonicError: the history was changed or lacks records, so nobody knows against what a candidate is
            to be judged.
        WrongEnvironment: it is not of this process's environment.
    """
    with closing(open_history(settings)) as history:
        history.require_environment()
    lost = [one.sentence for one in repair(settings, dataset) if one.kind in UNBELIEVED]
    if lost:
        raise HedonicError(lost[0])
