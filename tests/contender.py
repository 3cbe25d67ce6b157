"""A process that promotes when it is told: it judges as the flow does, against the champion that it read."""

from __future__ import annotations

from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from hedonic.promotion.history import Entry, History, StaleChampion
from hedonic.promotion.pointer import project_pointer

LOSS = "log_rmse"


class Challenge(NamedTuple):
    """What a contender is to promote, if it is better than the champion."""

    url: str
    home: str
    dataset: str
    who: str
    run: str
    release: str
    loss: float


def contend(connection: Connection) -> None:
    """Answer each challenge with promoted, kept or stale, until there is None."""
    connection.send("ready")
    while (asked := connection.recv()) is not None:
        with closing(History(asked.url)) as history:
            connection.send(_promote(history, asked))


def _promote(history: History, asked: Challenge) -> str:
    champion = history.champion(asked.dataset)
    held = champion.figures[LOSS] if champion else None
    better = held is None or asked.loss < held
    entry = Entry(
        dataset=asked.dataset,
        kind="promoted" if better else "kept",
        release=asked.release if better else None,
        candidate=asked.release,
        figures={LOSS: asked.loss},
        actor=asked.who,
        reason="drill",
        flow_run=asked.run,
    )
    try:
        history.append(entry, expected_champion=champion.release if champion else None)
    except StaleChampion:
        return "stale"
    finally:
        project_pointer(history, Path(asked.home), asked.dataset)
    return entry.kind
