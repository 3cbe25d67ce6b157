"""Turn: hooks by which trainings of one data set in different processes wait for each other."""

from __future__ import annotations

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun

from hedonic.settings import load_settings
from hedonic.turn import Turn


def take_turn(flow: Flow[..., object], flow_run: FlowRun, state: State) -> None:
    """Wait until no other process trains the data set."""
    Turn(load_settings().home, str(flow_run.parameters["dataset"])).take()


def end_turn(flow: Flow[..., object], flow_run: FlowRun, state: State) -> None:
    """Let the next process train the data set."""
    Turn(load_settings().home, str(flow_run.parameters["dataset"])).end()
