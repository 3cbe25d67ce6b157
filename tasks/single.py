"""A single step, run alone in this process on the inputs that its last run recorded."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hedonic.data.contract import Frozen
from hedonic.errors import UserError
from hedonic.flow_record import FlowRecord
from hedonic.settings import Settings, load_settings
from hedonic.step_key import StepBook, StepRecord
from tasks.decide import decide_promotion
from tasks.evaluate import evaluate_candidate
from tasks.ingest import ingest
from tasks.recording import plain, read_arguments
from tasks.release import make_release
from tasks.run_page import artifacts_in
from tasks.simplify import prefer_simple
from tasks.train import train_candidate
from tasks.tune import tune
from tasks.validate import validate_snapshot

# Steps that change what is served or what is on record are left out: they are not to be tried out.
BODIES: Mapping[str, Callable[..., Any]] = {
    "ingest": ingest.fn,
    "validate": validate_snapshot.fn,
    "tune": tune.fn,
    "train": train_candidate.fn,
    "simplify": prefer_simple.fn,
    "evaluate": evaluate_candidate.fn,
    "decide": decide_promotion.fn,
    "release": make_release.fn,
}


class AloneRun(Frozen):
    """What a step came to that ran alone.

    Attributes:
        output: as JSON.
        same: whether it is what the step returned in its run.
        folder: where inputs, output, artifacts and log are; None where they are not kept.
    """

    output: Any
    same: bool
    seconds: float
    folder: str | None = None


def run_alone(name: str, dataset: str, *, dump: bool) -> AloneRun:
    """Return what a step comes to on the inputs of its last run, with neither server nor flow.

    Args:
        name: of the step.
        dataset: of which the last run is meant.
        dump: keep inputs, output, artifacts and log below ``$HEDONIC_HOME/debug``, of a failure too.

    Raises:
        UserError: there is no such step, or it never ran, or its inputs are those of other code.
    """
    settings = load_settings()
    if name not in BODIES:
        raise UserError(f"{name}: no step that can run alone. There are {', '.join(BODIES)}.")
    record = StepBook(settings).latest(dataset, name)
    if record is None:
        raise UserError(
            f"{name}: no inputs are recorded for {dataset}, as it never ran. "
            f"Run it once: hedonic run {dataset} --from-step validate"
        )
    values = _values(name, record)
    moment = datetime.now(UTC)
    folder = settings.home / "debug" / f"{moment:%Y%m%dT%H%M%S.%f}-{name}" if dump else None
    began = time.monotonic()
    with _dumped(folder, record) as keep, _own_record(settings, values, name) as given:
        output = plain(BODIES[name](**given))
        keep(output)
    return AloneRun(
        output=output,
        same=output == record.output,
        seconds=time.monotonic() - began,
        folder=str(folder) if folder else None,
    )


def _values(name: str, record: StepRecord) -> dict[str, Any]:
    try:
        return read_arguments(BODIES[name], record.arguments)
    except (ValidationError, KeyError) as err:
        raise UserError(
            f"{name}: the inputs recorded at {record.at[:19]} do not fit the code as it is now: {err}. "
            f"Run it again: hedonic run {record.key.dataset} --from-step validate"
        ) from err


@contextmanager
def _own_record(settings: Settings, values: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """Give the arguments with an MLflow run of their own: the run that recorded them stays as it is."""
    if "run_id" not in values:
        yield dict(values)
        return
    moment = f"alone-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    record = FlowRecord.begin(settings, values["contract"], flow_run=moment, reason=f"{name} alone")
    try:
        yield {**values, "run_id": record.run_id}
    except BaseException:
        record.finish("FAILED")
        raise
    record.finish("FINISHED")


@contextmanager
def _dumped(folder: Path | None, record: StepRecord) -> Iterator[Callable[[Any], None]]:
    """Write inputs, artifacts and log below ``folder``, and whatever is given to what this yields."""
    if folder is None:
        yield lambda _output: None
        return
    folder.mkdir(parents=True)
    _write(folder / "inputs.json", record.arguments)
    handler = logging.FileHandler(folder / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    log = logging.getLogger("hedonic")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        with artifacts_in(folder / "artifacts"):
            yield lambda output: _write(folder / "output.json", output)
    except BaseException as err:
        log.exception("failed")
        _write(folder / "failure.json", {"error": type(err).__name__, "message": str(err)})
        raise
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
