"""When a step need not run again: the same inputs, contract, parameters, code and lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from prefect import Task
from prefect.context import TaskRunContext
from pydantic import BaseModel

from hedonic.lineage import undertaking_digest
from hedonic.settings import load_settings

Step = Literal["validate", "tune", "train", "evaluate"]
STEPS: tuple[Step, ...] = ("validate", "tune", "train", "evaluate")

CacheKey = Callable[[TaskRunContext, dict[str, Any]], str]


def by_content(entry: str, *inputs: str) -> CacheKey:
    """Return a key function: the digest of the named inputs, the code that the step runs, and the lock.

    Args:
        entry: the step's module, from the project root.
        inputs: names of the arguments that shape the step's output.
    """

    def key(context: TaskRunContext, arguments: dict[str, Any]) -> str:
        values = {name: _plain(arguments[name]) for name in inputs}
        return undertaking_digest(load_settings().root, entry, **values)

    return key


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def renewed(task: Task[..., Any], step: Step, from_step: Step | None) -> Task[..., Any]:
    """Return the task, its cached result set aside when it is ``from_step`` or comes after it."""
    if from_step is None or STEPS.index(step) < STEPS.index(from_step):
        return task
    return task.with_options(refresh_cache=True)
