"""The projections of the history: the endpoint's pointer and MLflow's aliases, repaired at every start."""

from __future__ import annotations

from hedonic.promotion.history import History
from hedonic.promotion.pointer import project_pointer
from hedonic.promotion.registry import project_champion
from hedonic.settings import Settings


def project(settings: Settings, dataset: str) -> None:
    """Make pointer and aliases say what the history says; what holds already is left alone."""
    history = History(settings.history)
    try:
        pointer = project_pointer(history, settings.home, dataset)
    finally:
        history.close()
    project_champion(settings, dataset, pointer.release if pointer else None)
