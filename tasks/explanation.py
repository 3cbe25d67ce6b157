"""Explanation: why each step of a training run will run, or will not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from prefect.results import ResultStore
from pydantic import ValidationError

from hedonic.data.contract import Contract, Family, Frozen
from hedonic.data.contract_file import load_contract
from hedonic.data.snapshot import SnapshotStore
from hedonic.model.budget import Budget
from hedonic.promotion.history import History
from hedonic.promotion.simplicity import Choice
from hedonic.settings import load_settings
from hedonic.step_key import StepBook, StepKey, StepRecord
from tasks.caching import STEPS, Step, step_key
from tasks.evaluate import evaluate_candidate
from tasks.recognise import undertaking_key
from tasks.recording import output_type, read_as
from tasks.simplify import prefer_simple
from tasks.train import train_candidate
from tasks.tune import tune
from tasks.validate import validate_snapshot

_BODIES: Mapping[Step, Callable[..., Any]] = {
    "validate": validate_snapshot.fn,
    "tune": tune.fn,
    "train": train_candidate.fn,
    "simplify": prefer_simple.fn,
    "evaluate": evaluate_candidate.fn,
}
_OUTPUT_NAMES: Mapping[Step, tuple[str, ...]] = {
    "validate": ("validated",),
    "tune": ("tuning",),
    "train": ("candidate",),
    "simplify": ("candidate", "tuning"),
    "evaluate": ("evaluation",),
}
"""What the steps after it are given of a step's output."""


class StepExplanation(Frozen):
    """Why a step will run or will not.

    Attributes:
        will: ``run``; ``be kept``, for its result is there; ``depend``, on what a step before it returns.
        why: one phrase a reason.
        key: digest under which its result is looked for; None where that is not known yet.
        last_run: when it last ran, ISO 8601 in UTC.
    """

    step: str
    will: Literal["run", "be kept", "depend"]
    why: tuple[str, ...]
    key: str | None = None
    last_run: str | None = None


def explain(
    dataset: str,
    trials: int | None = None,
    time_budget_s: float | None = None,
    families: tuple[Family, ...] | None = None,
    seed: int = 0,
) -> tuple[StepExplanation, ...]:
    """Return an explanation of the run as a whole, then of each step; nothing is run but the reading of data.

    Args:
        dataset: a contract's name.
        trials: of the run that is asked about.
        time_budget_s: likewise.
        families: likewise.
        seed: likewise.
    """
    settings = load_settings()
    contract = load_contract(settings.expectations / f"{dataset}.yaml")
    budget = Budget(trials=trials or contract.search.trials, time_s=time_budget_s, families=families)
    snapshot = SnapshotStore(settings.snapshots).ingest(contract, settings.root)
    known: dict[str, Any] = {"contract": contract, "snapshot": snapshot, "budget": budget, "seed": seed}
    book = StepBook(settings)
    whole = _explain_whole(book, contract, undertaking_key(contract, snapshot, budget, seed))
    return (whole, *_explain_steps(book, dataset, known), _VERDICT)


_VERDICT = StepExplanation(
    step="decide", will="run", why=("the champion may be another by now: a run that gets here judges anew",)
)


def _explain_whole(book: StepBook, contract: Contract, key: StepKey) -> StepExplanation:
    record = History(load_settings().history).find_recipe(contract.name, key.digest)
    last = book.nearest(key)
    when = last.at if last else None
    if record is not None:
        told = f"judged at {record.at[:19]} UTC ({record.kind}): without from_step or steps nothing runs"
        return StepExplanation(step="run", will="be kept", why=(told,), key=key.digest, last_run=when)
    if last is None:
        why: tuple[str, ...] = ("there was no run before",)
    else:
        why = key.differences(last.key) or ("a run of the very same came to no verdict",)
    return StepExplanation(step="run", will="run", why=why, key=key.digest, last_run=when)


def _explain_steps(book: StepBook, dataset: str, known: dict[str, Any]) -> Iterator[StepExplanation]:
    """Yield an explanation of each step whose result is kept; ``known`` gains what those returned."""
    waits_for: Step | None = None
    for step in STEPS[:-1]:
        if waits_for is not None:
            yield _explain_waiting(step, book.latest(dataset, step), known, waits_for)
            continue
        key = step_key(step, known)
        record = book.read(key)
        if record is not None and ResultStore().exists(key.digest):
            known |= _outputs(step, read_as(output_type(_BODIES[step]), record.output))
            told = f"contract, inputs, parameters, code and lock are those of {record.at[:19]} UTC"
            yield StepExplanation(step=step, will="be kept", why=(told,), key=key.digest, last_run=record.at)
            continue
        waits_for, last = step, book.nearest(key)
        for name in _OUTPUT_NAMES[step]:  # it may return another than the one that it was given
            known.pop(name, None)
        if last is None:
            yield StepExplanation(step=step, will="run", why=("it never ran",), key=key.digest)
            continue
        why = key.differences(last.key) or ("its result is gone from Prefect's storage",)
        yield StepExplanation(step=step, will="run", why=why, key=key.digest, last_run=last.at)


def _outputs(step: Step, output: Any) -> dict[str, Any]:
    """Return what a step returned by the names under which the steps after it are given it."""
    if isinstance(output, Choice):
        return {"candidate": output.candidate, "tuning": output.tuning}
    (name,) = _OUTPUT_NAMES[step]
    return {name: output}


def _explain_waiting(
    step: Step, last: StepRecord | None, known: Mapping[str, Any], waits_for: Step
) -> StepExplanation:
    """Return the explanation of a step whose inputs are not known yet: what changed besides them?"""
    if last is None:
        return StepExplanation(step=step, will="run", why=("it never ran",))
    given = {**last.arguments, **{name: value for name, value in known.items() if name in last.arguments}}
    try:
        besides = step_key(step, given).differences(last.key)
    except ValidationError:
        besides = ("what it was given was recorded by another version of the code",)
    if besides:
        return StepExplanation(step=step, will="run", why=besides, last_run=last.at)
    told = f"{waits_for} runs first: where it returns the same, what is kept is taken"
    return StepExplanation(step=step, will="depend", why=(told,), last_run=last.at)
