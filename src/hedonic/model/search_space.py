"""The search space: what a trial may try, and what it tries first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from hedonic.data.contract import Choice, Family, Parameter, Range, Search

if TYPE_CHECKING:
    import optuna


def searched_families(search: Search) -> list[Family]:
    """Return the families that trials try: the median only where there is no other."""
    learning: list[Family] = [family for family in search.families if family != "median"]
    return learning or list(search.families)


def default_parameters(family: Family, search: Search) -> dict[str, Any]:
    """Return the middle of each range (geometric on a log scale) and the first of each choice."""
    defaults: dict[str, Any] = {}
    for key, space in search.families[family].items():
        match space:
            case Range(low=low, high=high, log=log):
                middle = math.sqrt(low * high) if log else (low + high) / 2
                defaults[f"{family}.{key}"] = round(middle) if space.integer else middle
            case Choice(choices=choices):
                defaults[f"{family}.{key}"] = choices[0]
    return defaults


def suggest(trial: optuna.Trial, search: Search) -> tuple[Family, dict[str, Any]]:
    """Return the family and the parameters that the sampler gives the trial."""
    families = searched_families(search)
    family = cast(Family, trial.suggest_categorical("family", families))
    space = search.families[family]
    return family, {key: _suggest_one(trial, f"{family}.{key}", value) for key, value in space.items()}


def _suggest_one(trial: optuna.Trial, name: str, space: Parameter) -> Any:
    match space:
        case Range(integer=True):
            return trial.suggest_int(name, round(space.low), round(space.high), log=space.log)
        case Range():
            return trial.suggest_float(name, space.low, space.high, log=space.log)
        case Choice():
            return trial.suggest_categorical(name, list(space.choices))
        case _:
            return space
