"""``hedonic status``, ``serve`` and ``down`` follow the history."""

from __future__ import annotations

import json
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from hedonic.endpoint import Endpoint
from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.monitoring.alerts import AlertBook
from hedonic.promotion.history import Entry, History
from hedonic.promotion.pointer import pointer_path, project_pointer, read_pointer
from hedonic.settings import Settings
from hedonic.supervisor import Process, Running, Supervisor, stop_all
from tests.unit.cli.test_run import verdict
from tests.waiting import wait_for

A = "a" * 64


@pytest.fixture
def history(project):
    opened = History(f"sqlite:///{project / '.hedonic' / 'history.db'}")
    yield opened
    opened.close()


@pytest.fixture
def champion(history):
    entry = Entry(
        dataset="toy",
        kind="promoted",
        release=A,
        bento="toy:aaaa",
        verdict=verdict(),
        figures={"log_rmse": 0.1649},
        actor="ana",
        reason="nightly",
    )
    return history.append(entry, expected_champion=None)


@pytest.fixture
def supervisor(monkeypatch):
    """A supervisor that notes what it is asked for."""
    asked = []

    def start(settings, dataset, port):
        asked.append((dataset, port))
        return Endpoint(dataset, f"http://127.0.0.1:{port}", 1, A, None)

    monkeypatch.setattr("hedonic.rollback.refused_champion.start_endpoint", start)
    monkeypatch.setattr(
        "hedonic.roll_out.take_back", lambda settings, dataset: asked.append(f"stop {dataset}")
    )
    stopped = SimpleNamespace(stop_all=lambda settings: ["endpoint-toy"], Supervisor=Supervisor)
    monkeypatch.setitem(sys.modules, "hedonic.supervisor", stopped)
    return asked


def test_with_no_champion_the_command_to_make_one_is_told_and_nothing_is_written(hedonic, project):
    code, out, _ = hedonic("status", "toy")
    assert (code, out) == (0, "toy: no champion yet. Make one with: hedonic run toy\n")
    assert not (project / ".hedonic").exists()
    assert json.loads(hedonic("status", "--json")[1]) == {"toy": None}


def test_the_champion_is_told_since_when_why_and_with_which_figures(hedonic, champion):
    code, out, _ = hedonic("status")
    assert code == 0
    for told in (
        A,
        f"since {champion.at}, promoted by ana",
        "toy:aaaa",
        "nightly",
        "by a lot",
        "log_rmse",
        "0.1649",
    ):
        assert told in out


def test_a_pointer_that_differs_is_told(hedonic, history, champion, project):
    assert "hedonic serve toy repairs it" in hedonic("status")[1]
    assert json.loads(hedonic("status", "--json")[1])["toy"]["pointer_agrees"] is False
    project_pointer(history, project / ".hedonic", "toy")
    assert "repairs it" not in hedonic("status")[1]
    content = json.loads(hedonic("status", "toy", "--json")[1])["toy"]
    assert (content["pointer_agrees"], content["release"]) == (True, A)


def test_each_part_that_is_kept_running_is_told_with_its_pid_and_json_has_the_data_sets_alone(
    hedonic, project, monkeypatch
):
    monkeypatch.setattr(Supervisor.running, "__defaults__", (30.0,))  # however busy this machine is
    settings = Settings(root=project, home=project / ".hedonic")
    assert "parts" not in hedonic("status")[1]
    supervisor = Supervisor(settings)
    try:
        supervisor.keep(Process("worker", (sys.executable, "-c", "import time; time.sleep(600)")))
        wait_for(lambda: supervisor.process_pid("worker") is not None, "it runs")
        lines = hedonic("status")[1].splitlines()
        told = [line.split() for line in lines[lines.index("parts:") + 1 :]]
        assert told == [["worker", "pid", str(supervisor.process_pid("worker"))]]
        assert json.loads(hedonic("status", "--json")[1]) == {"toy": None}
    finally:
        stop_all(settings)
    assert "parts" not in hedonic("status")[1]


def test_a_part_that_does_not_run_is_down_and_a_silent_supervisor_is_told(hedonic, monkeypatch):
    monkeypatch.setattr(Supervisor, "running", lambda _: {"worker": Running(None, "x")})
    assert hedonic("status")[1].splitlines()[-1].split() == ["worker", "down"]

    def silent(_):
        raise HedonicError("the supervisor does not answer 'list': timed out")

    monkeypatch.setattr(Supervisor, "running", silent)
    code, out, _ = hedonic("status")
    assert code == 0
    assert out.splitlines()[-1] == "parts: the supervisor does not answer 'list': timed out"


def test_an_unknown_data_set_is_told_with_the_known_ones(hedonic):
    code, _, err = hedonic("status", "nothing")
    assert (code, "nothing: no such data set. Known: toy." in err) == (2, True)


def test_serve_repairs_the_pointer_and_starts_the_endpoint_on_the_contracts_port(
    hedonic, champion, supervisor, project, free_port
):
    pointer_path(project / ".hedonic", "toy").parent.mkdir()
    pointer_path(project / ".hedonic", "toy").write_text("{")
    code, out, _ = hedonic("serve")
    assert (code, supervisor) == (0, [("toy", free_port)])
    assert f"toy is served at http://127.0.0.1:{free_port}" in out
    assert f"curl -s http://127.0.0.1:{free_port}/predict" in out
    assert read_pointer(project / ".hedonic", "toy").release == A
    content = json.loads(hedonic("serve", "toy", "--json")[1].splitlines()[-1])
    assert content == {"endpoints": {"toy": f"http://127.0.0.1:{free_port}"}}


@pytest.fixture
def other(project, history):
    """Another data set that has a champion."""
    folder = project / "expectations"
    text = (folder / "toy.yaml").read_text().replace("name: toy", "name: another")
    (folder / "another.yaml").write_text(text)
    entry = Entry(dataset="another", kind="promoted", release="b" * 64, actor="ana", reason="x")
    history.append(entry, expected_champion=None)


@pytest.fixture
def refused(champion, other, supervisor, monkeypatch):
    """An endpoint that refuses the champion of one of the two data sets."""

    def start(settings, dataset, port):
        if dataset == "another":
            raise ReleaseRefused("its golden rows differ.")
        supervisor.append((dataset, port))
        return Endpoint(dataset, f"http://127.0.0.1:{port}", 1, A, None)

    monkeypatch.setattr("hedonic.rollback.refused_champion.start_endpoint", start)
    return supervisor


def test_serve_serves_the_others_where_one_champion_is_refused_and_tells_the_way_back(
    hedonic, refused, project, free_port
):
    code, out, err = hedonic("serve")
    assert (code, refused) == (1, [("toy", free_port)])
    assert f"toy is served at http://127.0.0.1:{free_port}" in out
    assert "another: its golden rows differ. Go back: hedonic rollback another" in err
    (alert,) = AlertBook(Settings(root=project, home=project / ".hedonic")).open()
    assert (alert.key, alert.severity) == ("champion-refused:another", "critical")


def test_up_starts_the_others_where_one_champion_is_refused_and_tells_the_way_back(
    hedonic, refused, monkeypatch, free_port
):
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for name in ("refuse_used_ports", "start", "wait_until_ready"):
        monkeypatch.setattr(f"hedonic.cli.up.{name}", lambda *_: None)
    monkeypatch.setattr("hedonic.deployments.deploy", lambda settings: None)
    monkeypatch.setattr("hedonic.deployments.end_lost_runs", lambda settings: ("toy: nightly",))
    try:
        code, out, _ = hedonic("up", "--detach")
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert (code, refused) == (0, [("toy", free_port)])
    assert "is not served. its golden rows differ. Go back: hedonic rollback another" in out
    assert f"http://127.0.0.1:{free_port}" in out
    assert "toy: nightly: was under way when the machine or `hedonic up` ended" in out


def test_status_tells_a_champion_whose_files_are_damaged_with_the_way_back(hedonic, champion):
    assert "the champion is not served: release aaaa" in hedonic("status")[1]
    assert "Go back: hedonic rollback toy" in hedonic("status")[1]
    assert json.loads(hedonic("status", "--json")[1])["toy"]["problem"].startswith("release aaaa")


@pytest.mark.parametrize("arguments", [(), ("toy",)])
def test_without_a_champion_there_is_nothing_to_serve(hedonic, supervisor, arguments):
    code, _, err = hedonic("serve", *arguments)
    assert (code, supervisor) == (2, [])
    assert "no champion yet" in err


def test_serve_asks_for_a_price_with_a_command_to_paste(hedonic, champion, supervisor, free_port):
    _, out, _ = hedonic("serve", "toy")
    assert (
        f"curl -s http://127.0.0.1:{free_port}/predict -H 'content-type: application/json' "
        """-d '{"instances":[{"area":120,"rooms":3}]}'"""
    ) in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_a_signal_stops_what_was_started(
    hedonic, champion, supervisor, monkeypatch, number
):
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    register = signal.signal

    def register_and_send(each, handler):
        register(each, handler)
        if each == signal.SIGTERM:  # the last to be registered
            os.kill(os.getpid(), number)

    monkeypatch.setattr(signal, "signal", register_and_send)
    try:
        assert hedonic("serve", "toy", "--foreground")[0] == 0
    finally:
        for each, handler in before.items():
            register(each, handler)
    assert supervisor[1:] == ["stop toy"]


def test_down_stops_everything(hedonic, supervisor):
    code, out, _ = hedonic("down", "--json")
    assert (code, json.loads(out)) == (0, {"stopped": ["endpoint-toy"]})
    assert hedonic("down")[1] == "stopped: endpoint-toy\n"
