"""The projections of the history: the endpoint's pointer and MLflow's aliases, repaired at every start."""

from __future__ import annotations

from contextlib import closing

from hedonic.promotion.agreement import Disagreement, disagreements, head_tag
from hedonic.promotion.history import History, open_history
from hedonic.promotion.pointer import project_pointer
from hedonic.promotion.registry.aliases import project_champion, project_head
from hedonic.promotion.registry.store import has_store
from hedonic.settings import Settings


def project(settings: Settings, dataset: str) -> tuple[Disagreement, ...]:
    """Make pointer, aliases and head tag say what the history says; what holds already is left alone.

    A history that lacks records which MLflow vouches for is believed in nothing: then nothing is written,
    and what is served stays. The champion is read again at the end: of two processes that project at once,
    whichever writes last has seen the last promotion.

    Returns:
        Where MLflow differed before.
    """
    with closing(open_history(settings)) as history:
        found = disagreements(settings, history, dataset)
        if any(one.kind == "history-truncated" for one in found):
            return found
        while True:
            pointer = project_pointer(history, settings.home, dataset)
            release = pointer.release if pointer else None
            if has_store(settings):
                _project_registry(settings, history, dataset, release)
            champion = history.champion(dataset)
            if (champion.release if champion else None) == release:
                return found


def _project_registry(settings: Settings, history: History, dataset: str, release: str | None) -> None:
    head = history.head()  # before the aliases are written: it vouches for no more than they say
    rejected = {digest for digest, told in history.standings(dataset).items() if told == "rejected"}
    project_champion(settings, dataset, release, rejected)
    if head is not None:
        project_head(settings, dataset, head_tag(head))
