"""When a step need not run again: the same inputs, contract, parameters, code and lock."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Final, Literal, Never, ParamSpec, TypeVar

from prefect import Task
from prefect.context import TaskRunContext

from hedonic.errors import HedonicError, UserError
from hedonic.model.study import Tuning
from hedonic.settings import load_settings
from hedonic.step_key import StepKey
from tasks.recording import plain, read_as, remember_key

Step = Literal["validate", "tune", "train", "simplify", "evaluate", "decide"]
STEPS: Final[tuple[Step, ...]] = ("validate", "tune", "train", "simplify", "evaluate", "decide")

Given = ParamSpec("Given")
Output = TypeVar("Output")
CacheKey = Callable[[TaskRunContext, dict[str, Any]], str]

SHAPED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "validate": ("contract", "snapshot"),
    "tune": ("contract", "validated", "budget", "seed"),
    "train": ("contract", "validated", "tuning"),
    "simplify": ("contract", "validated", "candidate", "tuning"),
    "evaluate": ("contract", "validated", "candidate", "ridge_parameters"),
}
"""The arguments that shape what a step returns, or the part of one; the others say where it is recorded."""

RECORDERS: Final = (
    "src/hedonic/flow_record.py",
    "src/hedonic/tracking.py",
    "src/hedonic/step_key.py",
    "tasks/caching.py",
    "tasks/recording.py",
    "tasks/run_page.py",
)
"""Sources that record and show what a step did: an edit of these changes no result."""


class MissingOutput(HedonicError):
    """A step was not to run, and what it returned is not kept."""


def by_content(step: Step) -> CacheKey:
    """Return a key function: the digest of what shapes the step's output, its code, and the lock."""

    def key(context: TaskRunContext, arguments: dict[str, Any]) -> str:
        found = step_key(step, arguments)
        remember_key(context, found)
        return found.digest

    return key


def step_key(step: Step, arguments: Mapping[str, Any]) -> StepKey:
    """Return what a step's output would be made of now.

    Args:
        step: its name.
        arguments: that it is given, as values or as JSON.

    Raises:
        ValidationError: they are JSON that was kept by another version of the code.
    """
    inputs = {name: _given(name, arguments) for name in SHAPED_BY[step]}
    # The report names the moment of a validation; what it lets pass is beside it.
    inputs.get("validated", {}).pop("report_sha256", None)
    dataset = inputs["contract"]["name"]
    return StepKey.make(load_settings().root, step, dataset, f"tasks/{step}.py", inputs, RECORDERS)


def _given(name: str, arguments: Mapping[str, Any]) -> Any:
    """Return as JSON what shapes an output: an argument, or of a study ridge's parameters alone."""
    if name == "ridge_parameters":
        return plain(read_as(Tuning, plain(arguments["tuning"])).ridge_parameters)
    return plain(arguments[name])


@dataclass(frozen=True, slots=True)
class Selection:
    """Which steps of a run are done again, and where it ends.

    Attributes:
        from_step: this step and all after it are done again.
        only: these alone are done again; what the others returned is taken as it was kept, and the run
            ends with the last of them. ``decide`` stands for the verdict and all that follows it.
    """

    from_step: Step | None = None
    only: tuple[Step, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.from_step is not None and self.only is not None:
            raise UserError("from_step and steps were both given. Give one of them.")
        if self.only == ():
            raise UserError(f"steps is empty. Name some of {', '.join(STEPS)}.")

    @property
    def is_made(self) -> bool:
        """Return whether somebody chose steps: then even what was judged before is done again."""
        return self.from_step is not None or self.only is not None

    def apply(self, step: Step, task: Task[Given, Output]) -> Task[Given, Output]:
        """Return the task as it is to run: as ever, again whatever is kept, or not at all."""
        if self.only is not None:
            return task.with_options(refresh_cache=True) if step in self.only else _kept(step, task)
        if self.from_step is None or STEPS.index(step) < STEPS.index(self.from_step):
            return task
        return task.with_options(refresh_cache=True)

    def ends_with(self, step: Step) -> bool:
        """Return whether the run ends once this step is done."""
        return self.only is not None and step == max(self.only, key=STEPS.index)


def _kept(step: Step, task: Task[Given, Output]) -> Task[Given, Output]:
    """Return the task with a body that refuses: all that it can return is what it returned before."""

    @functools.wraps(task.fn)
    def refuse(*_: Any, **__: Any) -> Never:
        raise MissingOutput(
            f"{step}: what it returned for this contract, data and code is not kept. "
            f"Add {step} to steps, or run without steps."
        )

    kept = copy(task)
    kept.fn = refuse
    return kept
