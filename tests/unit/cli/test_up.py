"""`hedonic up`: a data set that has no champion is trained once or not, and it goes on until it is ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from hedonic.cli.up import _watch, _welcome
from hedonic.errors import HedonicError
from hedonic.monitoring.alerts import Alert, AlertBook, AlertFeed
from hedonic.settings import Settings
from hedonic.supervisor import Process, Running, Supervisor, stop_all
from hedonic.watching.event import Event
from hedonic.watching.look import look_at
from hedonic.watching.sighting import dataset_file
from tests.contracts import car_contract, car_frame
from tests.supervised import supervised
from tests.waiting import wait_for
from tests.watched import make_watched, put

__all__ = ["supervised"]

CARS = car_contract(source={"uri": "data/cars.parquet"})


def test_a_data_set_that_is_not_to_be_trained_is_no_news_to_the_watcher(tmp_path: Path) -> None:
    settings = make_watched(tmp_path, CARS)
    put(car_frame(), tmp_path / CARS.source.uri)

    def is_known() -> bool:
        told = _welcome(settings, "cars", train=False)
        assert told == "has no champion. Train one: hedonic run cars"
        seen = dataset_file(settings.home, "cars").read()
        return seen is not None and seen.snapshot is not None

    wait_for(is_known, "the file is quiet")
    events: list[Event] = []
    assert look_at(settings, CARS, events.append).outcome == "unchanged"
    assert events == []


def test_a_contract_that_cannot_be_read_is_told_and_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_watched(tmp_path, CARS)
    (settings.expectations / "cars.yaml").write_text("name: cars\n")
    monkeypatch.setattr("hedonic.deployments.request_first_champion", pytest.fail)
    assert _welcome(settings, "cars", train=True).startswith("has no champion. ")
    assert not dataset_file(settings.home, "cars").path.exists()


def test_each_alert_that_is_raised_or_settled_is_one_line_and_what_was_before_is_not_told(
    supervised: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hedonic.cli.up._LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(Supervisor.running, "__defaults__", (30.0,))  # a late answer would be told as well
    book, told = AlertBook(supervised), StringIO()
    failed = Alert(kind="run-failed", severity="critical", key="a", title="cars: the run failed", text="x")
    book.raise_(failed.model_copy(update={"key": "old", "title": "an old one"}))
    Supervisor(supervised).keep(Process("sleeper", (sys.executable, "-c", "import time; time.sleep(600)")))
    console = Console(file=told, width=30)
    watching = threading.Thread(target=_watch, args=(supervised, console, AlertFeed(supervised)))
    watching.start()
    link = "http://127.0.0.1:4200/runs/flow-run/1"
    book.raise_(failed.model_copy(update={"text": "no such file:\n  data/cars.csv [now]", "link": link}))
    book.raise_(failed)
    book.settle("a")
    wait_for(lambda: "settled" in told.getvalue(), "it is told")
    stop_all(supervised)
    watching.join(30.0)
    assert told.getvalue().splitlines()[:2] == [
        f"cars: the run failed: no such file: data/cars.csv [now] ({link})",
        "settled: cars: the run failed",
    ]


def test_a_supervisor_that_does_not_answer_for_a_while_is_told_once_and_ends_nothing(
    supervised: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[dict[str, Running]] = []
    refusals: list[HedonicError] = []
    running = Supervisor.running

    def noted(asked: Supervisor) -> dict[str, Running]:
        try:
            answers.append(running(asked))
        except HedonicError as err:
            refusals.append(err)
            raise
        return answers[-1]

    monkeypatch.setattr(Supervisor, "running", noted)
    supervisor = Supervisor(supervised)
    supervisor.keep(Process("sleeper", (sys.executable, "-c", "import time; time.sleep(600)")))
    wait_for(lambda: supervisor.process_pid("sleeper") is not None, "it runs")
    daemon, first = supervisor.pid(), supervisor.process_pid("sleeper")
    assert daemon is not None
    assert first is not None
    told = StringIO()
    watching = threading.Thread(
        target=_watch, args=(supervised, Console(file=told, width=200), AlertFeed(supervised))
    )
    os.kill(daemon, signal.SIGSTOP)
    try:
        watching.start()
        wait_for(lambda: "does not answer" in told.getvalue(), "it is told")
        wait_for(lambda: len(refusals) > 1, "it is asked again")
        assert watching.is_alive()
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert told.getvalue().count("does not answer") == 1
    wait_for(lambda: any("sleeper" in found for found in answers), "it answers again")
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: "sleeper ended and was restarted" in told.getvalue(), "the restart is told")
    stop_all(supervised)
    watching.join(30.0)
    assert not watching.is_alive()
    assert "everything was stopped by `hedonic down`" in told.getvalue()
