"""What does not fit together in a contract whose parts are each right."""

from __future__ import annotations

import fnmatch
import math
from typing import TYPE_CHECKING

from hedonic.data.rules import RowRule

if TYPE_CHECKING:
    from hedonic.data.behaviour_policy import Direction, Invariance
    from hedonic.data.contract import Contract
    from hedonic.data.gate_policy import GatePolicy

FEWEST_BEYOND = 5
"""How many resamples must lie below a bootstrap's bound for it to be believed."""


def problems_of(contract: Contract) -> list[str]:
    """Return each name that is not known, each role that is missing or given twice, in a sentence."""
    return [*_column_problems(contract), *_reference_problems(contract), *_gate_problems(contract)]


def level_problems(gate: GatePolicy) -> list[str]:
    """Return why the gate's bootstrap cannot keep the level that it promises, in a sentence.

    It is asked of a contract that somebody writes, and not of one that a release carries: what serves goes
    on serving.
    """
    looks = gate.max_looks or 1
    beyond = round(gate.resamples * (1 - gate.confidence) / looks, 6)
    if beyond >= FEWEST_BEYOND:
        return []
    wanted = math.ceil(round(FEWEST_BEYOND * looks / (1 - gate.confidence), 6))
    return [
        f"{beyond:g} of {gate.resamples} resamples lie below the bound that one comparison needs, fewer than "
        f"{FEWEST_BEYOND}, so gate.confidence {gate.confidence:g} is not kept: set gate.resamples to "
        f"{wanted} or more, or lower gate.max_looks or gate.confidence"
    ]


def _column_problems(contract: Contract) -> list[str]:
    names = [column.name for column in contract.columns]
    problems = [
        f"column {name!r} is listed twice" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for role in ("id", "time", "target"):
        holders = [column.name for column in contract.columns if column.role == role]
        if len(holders) > 1:
            problems.append(f"role {role} is given to {', '.join(holders)}: one column may have it")
    targets = [column.name for column in contract.columns if column.role == "target"]
    if targets[:1] != [contract.target.column]:
        problems.append(f"target.column {contract.target.column!r} must be the column with role: target")
    for column in contract.columns:
        for forbidden in contract.forbidden:
            if column.role == "feature" and fnmatch.fnmatchcase(column.name, forbidden.pattern):
                problems.append(
                    f"feature {column.name!r} is forbidden ({forbidden.reason}): "
                    "remove it or give it role: attribute"
                )
    if contract.split.method == "time" and contract.time_column is None:
        problems.append("split.method time needs a column with role: time")
    if contract.split.method == "hash" and contract.id_column is None:
        problems.append("split.method hash needs a column with role: id")
    if contract.refit.policy == "latest" and contract.time_column is None:
        problems.append("refit.policy latest needs a column with role: time")
    return problems


def _reference_problems(contract: Contract) -> list[str]:
    known = {column.name for column in contract.columns}
    inputs = {column.name for column in contract.inputs}
    features = contract.features
    derived = [
        *[(f"features.columns {name}", (name,)) for name in features.columns or ()],
        *[(f"features.ages {age.name}", (age.year, age.renewed)) for age in features.ages],
        *[(f"features.logs {name}", (name,)) for name in features.logs],
        *[(f"features.ratios {r.name}", (r.numerator, r.denominator)) for r in features.ratios],
    ]
    if features.place:
        derived.append(("features.place", (features.place.latitude, features.place.longitude)))
    problems = [
        f"features.columns {column.name}: a {column.type} column cannot be a feature of a model; leave it out"
        for column in contract.inputs
        if column.type == "text" and column.name in (features.columns or ())
    ]
    problems += [
        f"{where}: {name!r} is not a feature column"
        for where, names in derived
        for name in names
        if name is not None and name not in inputs
    ]
    if features.comparables:
        comparables = features.comparables
        wanted = {*comparables.similar, *comparables.averaged}
        wanted |= {f"log_{comparables.size}"} if comparables.size else set()
        problems += [
            f"features.comparables: {name!r} is not a derived feature"
            for name in sorted(wanted - {*inputs, *features.derived_names})
        ]
        if not features.place:
            problems.append("features.comparables needs features.place")
    if features.ages and contract.time_column is None:
        problems.append("features.ages needs a column with role: time")
    referenced = [(f"slice {s.name}", {s.column}) for s in contract.slices]
    referenced += [(f"rule {r.name}", set(RowRule.parse(r.rule).columns)) for r in contract.rules]
    for where, names in referenced:
        problems += [f"{where}: no column {name!r}" for name in sorted(names - known)]
    return problems


def _gate_problems(contract: Contract) -> list[str]:
    """Return what the gate's behavioural checks name that a model cannot be asked about."""
    gate, askable = contract.gate, {column.name: column for column in contract.inputs}
    if contract.time_column:
        askable[contract.time_column] = contract.column(contract.time_column)
    checks: tuple[Direction | Invariance, ...] = (*gate.directions, *gate.invariances)
    problems = []
    for check in checks:
        for name, change in check.changes.items():
            where = f"gate: {check.name}"
            if name not in askable:
                problems.append(f"{where}: {name!r} is neither a feature nor the time column")
            elif change.to is None and askable[name].type not in ("integer", "number", "date"):
                problems.append(
                    f"{where}: {name!r} is a {askable[name].type}, which has no factor or add; use to"
                )
    asked = {
        *(column.name for column in contract.inputs),
        *(["valuation_date"] if contract.time_column else []),
    }
    for golden in gate.golden:
        problems += [
            f"gate: golden row {golden.name}: {name!r} is not what a caller sends"
            for name in sorted({*golden.row} - asked)
        ]
    return problems
