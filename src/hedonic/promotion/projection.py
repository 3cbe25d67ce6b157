"""The projections of the history: the endpoint's pointer and MLflow's aliases, repaired at every start."""

from __future__ import annotations

from contextlib import closing

from hedonic.promotion.agreement import UNBELIEVED, Disagreement, disagreements
from hedonic.promotion.history import open_history
from hedonic.promotion.pointer import project_pointer
from hedonic.promotion.registry.aliases import project_champion, project_head
from hedonic.promotion.registry.store import has_store
from hedonic.promotion.whole_history import head_tag, note_head
from hedonic.settings import Settings


def project(settings: Settings, dataset: str) -> tuple[Disagreement, ...]:
    """Make pointer, aliases and head tag say what the history says; what holds already is left alone.

    A history whose chain does not verify, or that lacks records which MLflow vouches for, is believed in
    nothing: then nothing is written, and what is served stays. The champion is read again at the end: of two
    processes that project at once, whichever writes last has seen the last promotion.

    Returns:
        Where MLflow differed before.
    """
    with closing(open_history(settings)) as history:
        found = disagreements(settings, history, dataset)
        if any(one.kind in UNBELIEVED for one in found):
            return found
        while True:
            head = history.head()  # before pointer and aliases: it vouches for no more than they say
            pointer = project_pointer(history, settings.home, dataset)
            release = pointer.release if pointer else None
            if has_store(settings):
                known = history.standings(dataset).items()
                rejected = {digest for digest, told in known if told == "rejected"}
                project_champion(settings, dataset, release, rejected)
                if head is not None:
                    project_head(settings, dataset, head_tag(head))
            if head is not None:
                note_head(settings.home, dataset, head_tag(head))
            champion = history.champion(dataset)
            if (champion.release if champion else None) == release:
                return found
