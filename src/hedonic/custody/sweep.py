"""The sweep: a collection of what is kept, while nobody trains from it, serves it anew or copies it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from hedonic.custody.answer_log import answer_logs, require_log
from hedonic.custody.claim import Retention
from hedonic.custody.collection import Plan, collect, make_plans
from hedonic.custody.custody_lock import taking
from hedonic.custody.holding import Holding, datasets_of
from hedonic.errors import HedonicError
from hedonic.promotion.history import is_begun, open_history
from hedonic.served_settings import LogSettings
from hedonic.settings import Settings
from hedonic.turn import Turn


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep came to.

    Attributes:
        plans: of the data sets that were swept.
        gone: what was taken away.
        in_training: data sets that were left alone, each with the process that trains it.
    """

    plans: tuple[Plan, ...]
    gone: tuple[Holding, ...]
    in_training: dict[str, str]


def sweep(
    settings: Settings,
    log: LogSettings,
    retention: Retention,
    dataset: str | None = None,
    *,
    actor: str,
    reason: str,
    tell: Callable[[Holding], None] = lambda _holding: None,
) -> Swept:
    """Return what was taken away; a data set that is in training is left alone.

    Args:
        settings: name the places.
        log: names the prediction log and its retention.
        retention: says how long things are kept.
        dataset: of this one alone.
        actor: for the history.
        reason: for the history.
        tell: is given each thing once it is gone.

    Raises:
        UserError: releases that were champion would go, and there is no log of answers.
        HedonicError: the history's chain is broken, somebody verifies or backs up now, or the champion
            changed meanwhile.
    """
    gone: list[Holding] = []
    _refuse_damaged(settings)
    with taking(settings.home), _turns(settings, dataset) as (ours, in_training):
        plans = make_plans(settings, log, retention, dataset)
        swept = tuple(plan for plan in plans if plan.dataset is None or plan.dataset in ours)
        for plan in swept:
            if plan.dataset is not None and any(release.crowned for release in plan.collected):
                require_log(settings, answer_logs(settings, log, [plan.dataset]), plan.dataset)
        for plan in swept:
            for holding in collect(settings, plan, actor=actor, reason=reason):
                gone.append(holding)
                tell(holding)
    return Swept(swept, tuple(gone), in_training)


def _refuse_damaged(settings: Settings) -> None:
    """Refuse to go by a history that says something else than it did when it was written."""
    if not is_begun(settings):
        return
    with closing(open_history(settings)) as history:
        problems = history.verify_chain()
    if problems:
        raise HedonicError(
            f"the history's chain is broken: {problems[0]}. Nothing was taken away; `hedonic verify` has all."
        )


@contextmanager
def _turns(settings: Settings, dataset: str | None) -> Iterator[tuple[set[str], dict[str, str]]]:
    """Hold the turns of the data sets that nobody trains; give those, and who trains the others."""
    ours: set[str] = set()
    in_training: dict[str, str] = {}
    try:
        for name in sorted(datasets_of(settings)) if dataset is None else [dataset]:
            holder = Turn(settings.home, name).take_if_free()
            if holder is None:
                ours.add(name)
            else:
                in_training[name] = holder
        yield ours, in_training
    finally:
        for name in ours:
            Turn(settings.home, name).end()
