"""The agreement of MLflow with the history: what was moved by hand there, and what the history lost."""

from __future__ import annotations

from typing import Literal

from hedonic.data.contract import Frozen
from hedonic.promotion.history import History
from hedonic.promotion.registry.aliases import RegistryView, view
from hedonic.promotion.whole_history import holds, told_broken, told_truncated
from hedonic.settings import Settings

DisagreementKind = Literal["alias-moved", "history-broken", "history-truncated", "registry-behind"]

UNBELIEVED: tuple[DisagreementKind, ...] = ("history-broken", "history-truncated")
"""Kinds: of a history that is believed in nothing."""


class Disagreement(Frozen):
    """Where MLflow and the history differ.

    Attributes:
        kind: an alias that a person moved; a history whose chain does not verify, or that lacks what its
            head in MLflow vouches for; or a projection that was not written yet, as after a kill, which the
            next start repairs.
        sentence: what, where, and what to do.
    """

    kind: DisagreementKind
    dataset: str
    sentence: str


def disagreements(settings: Settings, history: History, dataset: str) -> tuple[Disagreement, ...]:
    """Return where MLflow differs from the history on a data set; nothing is repaired.

    A history whose chain does not verify is told alone: what it says is not compared with anything.
    """
    if problems := history.verify_chain():
        broken = f"{dataset}: {told_broken(problems)}"
        return (Disagreement(kind="history-broken", dataset=dataset, sentence=broken),)
    champion = history.champion(dataset)
    seen = view(settings, dataset, champion.release if champion else None)
    if seen is None:
        return ()
    truncated = _truncated(history, dataset, seen)
    if truncated is not None:
        return (truncated,)
    if seen.champion == seen.wanted:
        return ()
    noted = int(seen.head.partition(":")[0]) if seen.head else 0
    told = (
        f"{dataset}: MLflow's alias champion is on {_version(seen.champion)}, and the champion is "
        f"{_version(seen.wanted)}"
    )
    # The head is written after the alias: where it covers the champion's record, the alias was right once.
    if champion is not None and noted < champion.seq:
        return (
            Disagreement(
                kind="registry-behind",
                dataset=dataset,
                sentence=f"{told}: it was not written yet. `hedonic serve {dataset}` repairs it.",
            ),
        )
    return (
        Disagreement(
            kind="alias-moved",
            dataset=dataset,
            sentence=f"{told}: it was moved by hand. What is served did not change; the next start of "
            f"Hedonic puts it back. To serve another release: hedonic rollback {dataset}",
        ),
    )


def _truncated(history: History, dataset: str, seen: RegistryView) -> Disagreement | None:
    """Return what the history lacks of the head that MLflow was told; None where it has it."""
    if seen.head is None or holds(history, seen.head):
        return None
    lost = f"{dataset}: {told_truncated(history, seen.head)}"
    return Disagreement(kind="history-truncated", dataset=dataset, sentence=lost)


def _version(number: int | None) -> str:
    return f"version {number}" if number is not None else "no version"
