"""What a roll-back is worth telling, as alerts; and what of it is settled by a champion that serves."""

from __future__ import annotations

from hedonic.monitoring.alerts import Alert, AlertBook, never_failing
from hedonic.settings import Settings

_BACK, _FAILED, _REFUSED = "rolled-back", "rollback-failed", "champion-refused"


@never_failing
def settle_champion(settings: Settings, dataset: str) -> None:
    """Settle what a champion that serves disproves: that one was refused, left, or could not come back."""
    book = AlertBook(settings)
    for kind in (_BACK, _FAILED, _REFUSED):
        book.settle(f"{kind}:{dataset}")


@never_failing
def settle_refused(settings: Settings, dataset: str) -> None:
    """Settle that the champion is not served: it is."""
    AlertBook(settings).settle(f"{_REFUSED}:{dataset}")


@never_failing
def tell_rolled_back(settings: Settings, dataset: str, left: str, release: str, reason: str) -> None:
    """Tell that somebody rolled back, and settle what made it needful."""
    settle_champion(settings, dataset)
    AlertBook(settings).raise_(
        Alert(
            kind=_BACK,
            severity="info",
            key=f"{_BACK}:{dataset}",
            dataset=dataset,
            title=f"{dataset}: rolled back to release {release[:12]}",
            text=f"It was champion before and serves in place of {left[:12]}: {reason}",
        )
    )


@never_failing
def tell_fallen_back(settings: Settings, dataset: str, failed: str, target: str, cause: str) -> None:
    """Raise the alert that a new champion was not served rightly, open until there is another."""
    AlertBook(settings).raise_(
        Alert(
            kind=_BACK,
            severity="warning",
            key=f"{_BACK}:{dataset}",
            dataset=dataset,
            title=f"{dataset}: release {failed[:12]} was rolled back by itself",
            text=f"{cause} Release {target[:12]}, champion before it, is champion again and serves.",
        )
    )


@never_failing
def tell_not_fallen_back(settings: Settings, dataset: str, told: str) -> None:
    """Raise the alert that neither a new champion nor the one before it is served rightly."""
    AlertBook(settings).raise_(
        Alert(
            kind=_FAILED,
            severity="critical",
            key=f"{_FAILED}:{dataset}",
            dataset=dataset,
            title=f"{dataset}: the champion before could not come back",
            text=f"{told} Name another: hedonic rollback {dataset} --to VERSION",
        )
    )


@never_failing
def tell_refused(settings: Settings, dataset: str, why: str) -> None:
    """Raise the alert that the champion is not served, with the way back; open until one is."""
    AlertBook(settings).raise_(refused_alert(dataset, why))


def refused_alert(dataset: str, why: str) -> Alert:
    """Return the alert that the champion is not served, with the way back."""
    return Alert(
        kind=_REFUSED,
        severity="critical",
        key=f"{_REFUSED}:{dataset}",
        dataset=dataset,
        title=f"{dataset}: the champion is not served",
        text=f"{why} Go back: hedonic rollback {dataset}",
    )
