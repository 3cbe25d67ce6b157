"""What each step was given and returned, kept so that it can be explained and run again alone."""

from __future__ import annotations

import functools
import inspect
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, get_type_hints

from prefect.context import TaskRunContext
from prefect.runtime import flow_run
from pydantic import BaseModel, TypeAdapter

from hedonic.settings import load_settings
from hedonic.step_key import StepBook, StepKey, StepRecord
from tasks.run_page import relay_logs

Given = ParamSpec("Given")
Output = TypeVar("Output")

_keys: dict[str, StepKey] = {}


def recorded(step: str) -> Callable[[Callable[Given, Output]], Callable[Given, Output]]:
    """Return a decorator of a step's body: inputs and output are kept each time it runs in a flow."""

    def decorate(body: Callable[Given, Output]) -> Callable[Given, Output]:
        @functools.wraps(body)
        def run(*args: Given.args, **kwargs: Given.kwargs) -> Output:
            context = TaskRunContext.get()
            if context is None:
                return body(*args, **kwargs)
            relay_logs()
            began = time.monotonic()
            output = body(*args, **kwargs)
            given = inspect.signature(body).bind(*args, **kwargs).arguments
            arguments = {name: plain(value) for name, value in given.items()}
            StepBook(load_settings()).write(
                StepRecord(
                    key=_keys.pop(str(context.task_run.id), None) or _bare_key(step, arguments),
                    arguments=arguments,
                    output=plain(output),
                    seconds=time.monotonic() - began,
                    flow_run=flow_run.id,
                )
            )
            return output

        return run

    return decorate


def remember_key(context: TaskRunContext, key: StepKey) -> None:
    """Keep the key under which a step's result was looked for, until it is recorded."""
    _keys[str(context.task_run.id)] = key


def read_arguments(body: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return recorded arguments as the values that the body takes.

    Raises:
        ValidationError: they were recorded by another version of the code.
    """
    types = get_type_hints(inspect.unwrap(body))
    return {name: read_as(types[name], value) for name, value in arguments.items()}


def output_type(body: Callable[..., Any]) -> Any:
    """Return the type of what the body returns."""
    return get_type_hints(inspect.unwrap(body))["return"]


def read_as(kind: Any, value: Any) -> Any:
    """Return the value of that type that was kept as JSON.

    Raises:
        ValidationError: it was kept by another version of the code.
    """
    return TypeAdapter(kind).validate_json(json.dumps(value))


def plain(value: Any) -> Any:
    """Return the value as JSON."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return TypeAdapter(Any).dump_python(value, mode="json")


def _bare_key(step: str, arguments: Mapping[str, Any]) -> StepKey:
    """Return the key of a step whose result is never looked for: by its data set alone, the last is kept."""
    contract = arguments.get("contract")
    dataset = contract["name"] if contract else arguments["dataset"]
    return StepKey(step=step, dataset=dataset, inputs={}, code={}, lock="", versions={})
