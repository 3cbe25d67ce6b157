"""Runs that a real server takes for under way, and whose process ended while the server was down."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings
from prefect.states import Cancelling, Crashed, Pending, Running

from hedonic.deployments import TAG, end_lost_runs, end_runs_of_lost_worker
from hedonic.settings import Addresses, Settings
from tests.flow_runs import read_run

pytestmark = pytest.mark.slow


@flow(name="lost")
def nothing() -> None:
    """Do nothing: the run's state alone counts."""


@pytest.fixture
def begin(prefect_server: None) -> Callable[..., UUID]:
    """A function that makes a run in a state, such as a machine without power leaves it."""

    def begin(*states: Any, tags: tuple[str, ...] = (TAG,), deployed: bool = False) -> UUID:
        with get_client(sync_client=True) as client:
            if deployed:
                deployment = client.create_deployment(client.create_flow(nothing), name="lost")
                run = client.create_flow_run_from_deployment(deployment, tags=tags, state=Pending())
            else:
                run = client.create_flow_run(nothing, tags=tags, state=Pending())
            for state in states:
                client.set_flow_run_state(run.id, state, force=True)
            return run.id

    return begin


def end(folder: Path, how: Callable[..., tuple[str, ...]] = end_lost_runs, **changes: Any) -> set[str]:
    settings = Settings(root=folder, home=folder / ".hedonic", **changes)
    return set(how(settings, str(get_current_settings().api.url)))


@contextmanager
def process_of(run: UUID, module: str) -> Iterator[None]:
    """A process with a run's variables, whose command names a module."""
    environment = os.environ | {"PREFECT__FLOW_RUN_ID": str(run)}
    command = [sys.executable, "-c", "input()", module]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        yield
        process.communicate(b"\n")


def states(run: UUID) -> list[str]:
    with get_client(sync_client=True) as client:
        return [str(one.name) for one in client.read_flow_run_states(run)]


def name_and_message(run: UUID) -> tuple[str, str]:
    state = read_run(run).state
    assert state is not None
    return str(state.name), str(state.message)


def test_a_run_without_a_process_is_crashed_scheduled_again_or_cancelled_and_says_so(
    begin: Callable[..., UUID], tmp_path: Path
) -> None:
    ran, waited, unwanted = begin(Running()), begin(), begin(Running(), Cancelling())
    known = {read_run(run).name for run in (ran, waited, unwanted)}
    assert end(tmp_path) == known
    gone = "Its process is gone: the machine, `hedonic up` or the worker ended"
    assert name_and_message(ran) == ("Crashed", f"{gone} while it ran.")
    assert name_and_message(waited) == ("AwaitingRetry", f"{gone} before it began.")
    assert name_and_message(unwanted) == ("Cancelled", f"{gone} before it could be cancelled.")
    assert read_run(ran).run_count == 1, "so the automation starts it again"
    assert end(tmp_path) == set()


def test_a_run_with_a_process_and_what_is_not_ours_stay(begin: Callable[..., UUID], tmp_path: Path) -> None:
    alive, theirs = begin(Running()), begin(Running(), tags=("somebody",))
    with process_of(alive, "prefect.engine"):
        assert end(tmp_path) == set()
        assert name_and_message(alive)[0] == name_and_message(theirs)[0] == "Running"
    assert end(tmp_path, services=Addresses(prefect="http://elsewhere")) == set()
    assert end(tmp_path, work_pool="kubernetes") == set()
    assert end(tmp_path) == {read_run(alive).name}
    assert name_and_message(theirs)[0] == "Running"


def test_a_worker_that_begins_ends_what_was_lost_with_the_last_one_and_leaves_a_command_of_somebody(
    begin: Callable[..., UUID], tmp_path: Path
) -> None:
    by_hand, ran, waited = begin(Running()), begin(Running(), deployed=True), begin(deployed=True)
    too_often = begin(*([Running(), Crashed()] * 2), Running(), deployed=True)
    known = {read_run(run).name for run in (ran, waited, too_often)}
    assert end(tmp_path, end_runs_of_lost_worker, work_pool="kubernetes") == set()
    with process_of(ran, "joblib.externals.loky"):  # what a killed run leaves behind for a while
        assert end(tmp_path, end_runs_of_lost_worker) == known
    assert states(by_hand) == ["Pending", "Running"]
    assert states(ran) == ["Pending", "Running", "Crashed", "AwaitingRetry"]
    assert states(waited) == ["Pending", "AwaitingRetry"]
    assert states(too_often)[-2:] == ["Running", "Crashed"]
    assert read_run(too_often).run_count == 3
