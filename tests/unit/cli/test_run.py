"""``hedonic run`` passes on what was asked, and tells people and machines what came of it."""

from __future__ import annotations

import json
import logging
import math
import os
from types import SimpleNamespace

import pytest

from hedonic.cli import run
from hedonic.orchestration import StepMessage
from hedonic.promotion.history import Entry, History
from hedonic.promotion.verdict import Finding, Verdict

PREDICTION = {
    "estimate": 451234.5,
    "unit": "USD",
    "interval_80": [400000.0, 500000.0],
    "interval_90": [380000.0, 520000.0],
    "confidence": {"grade": "B", "reason": "a usual width"},
    "warnings": ["area is beyond what training saw"],
}


def verdict(kind="promoted"):
    better = Finding(check="better", outcome="passed" if kind == "promoted" else "issue", sentence="by a lot")
    return Verdict(promoted=kind == "promoted", kind=kind, reasons=(better,))


def result(project, outcome="promoted", **changes):
    values = {
        "outcome": outcome,
        "standing": "champion" if outcome in ("promoted", "unchanged") else "rejected",
        "verdict": verdict("promoted" if outcome in ("unchanged", "parked") else outcome),
        "release": "a" * 64,
        "bento": "toy:aaaa",
        "endpoint": "http://127.0.0.1:3999",
        "prediction": {"predictions": [PREDICTION]},
        "to_do": None,
        "figures": {"log_rmse": 0.1649, "prb": math.nan},
        "written": {"release": str(project / ".hedonic/releases/toy/aaaa"), "mlflow run": "m-1"},
    }
    return SimpleNamespace(**values | changes)


@pytest.fixture
def flow(monkeypatch, project):
    """A flow that notes how it was called and returns what it is told to."""
    calls = SimpleNamespace(
        result=result(project), parameters=None, api="http://server/api", recognise=lambda **_: None
    )

    def run_flow(_root, _entrypoint, parameters, on_message):
        calls.parameters = dict(parameters)
        for text, ended in (("read 5 rows", None), ("Finished in state Completed()", "Completed()")):
            on_message(StepMessage(step="ingest", level=logging.INFO, text=text, ended=ended))
        return calls.result

    monkeypatch.setattr(run, "run_flow", run_flow)
    monkeypatch.setattr(run, "choose_api", lambda *_: calls.api)
    monkeypatch.setattr(run, "find_callable", lambda *_: calls.recognise)
    return calls


def test_only_what_was_asked_is_passed_to_the_flow(hedonic, flow):
    assert hedonic("run", "toy")[0] == 0
    assert flow.parameters == {"dataset": "toy"}
    options = ["--trials", "3", "--time-budget", "60", "--families", "ridge,median", "--seed", "7"]
    options += ["--from-step", "tune", "--reason", "why"]
    assert hedonic("run", "toy", *options)[0] == 0
    assert flow.parameters == {
        "dataset": "toy",
        "trials": 3,
        "time_budget_s": 60.0,
        "families": ("ridge", "median"),
        "seed": 7,
        "from_step": "tune",
        "reason": "why",
    }


def test_people_read_steps_figures_places_the_price_and_how_to_ask(hedonic, flow):
    _, out, _ = hedonic("run", "toy")
    for told in (
        "done",
        "ingest",
        "read 5 rows",
        "promoted toy: promoted: by a lot",
        "log_rmse",
        "0.1649",
        ".hedonic/releases/toy/aaaa",
        "451,234 USD",
        "90 % interval: 380,000 to 520,000",
        "confidence B: a usual width",
        "warning: area is beyond",
        "served at http://127.0.0.1:3999 until: hedonic down",
        "ask it: hedonic predict toy",
    ):
        assert told in out


def test_machines_read_one_object_on_the_last_line_and_nothing_else(hedonic, flow):
    _, out, told = hedonic("run", "toy", "--json")
    (line,) = out.splitlines()
    content = json.loads(line)
    assert content["dataset"] == "toy"
    assert content["figures"] == {"log_rmse": 0.1649, "prb": None}
    assert content["verdict"]["kind"] == "promoted"
    assert content["prediction"]["predictions"][0]["estimate"] == 451234.5
    assert "read 5 rows" in told


@pytest.mark.parametrize(
    ("outcome", "plain", "required"),
    [("promoted", 0, 0), ("parked", 0, 3), ("kept", 0, 3), ("refused", 0, 3), ("unchanged", 0, 0)],
)
def test_the_exit_code_of_each_outcome(hedonic, flow, project, outcome, plain, required):
    flow.result = result(project, outcome)
    assert hedonic("run", "toy")[0] == plain
    assert hedonic("run", "toy", "--require-promotion")[0] == required


def test_an_unchanged_data_set_answers_for_the_run_that_judged_it(hedonic, flow, project):
    flow.result = result(project, "unchanged", verdict=verdict("kept"))
    assert hedonic("run", "toy", "--require-promotion")[0] == 3


def test_what_awaits_approval_says_so_and_is_no_champion_however_often_it_is_run(hedonic, flow, project):
    told = "awaiting approval: hedonic approve toy --reason"
    for outcome in ("parked", "unchanged"):
        flow.result = result(project, outcome, standing="challenger", endpoint=None)
        code, out, _ = hedonic("run", "toy", "--require-promotion")
        assert (code, told in out) == (3, True)
    for standing, code in (("champion", 0), ("rejected", 3)):
        flow.result = result(project, "unchanged", standing=standing)
        found, out, _ = hedonic("run", "toy", "--require-promotion")
        assert (found, told in out) == (code, False)


def test_what_an_unchanged_data_set_promoted_once_and_a_roll_back_left_is_not_champion(
    hedonic, flow, project
):
    flow.result = result(project, "unchanged")
    history = History(f"sqlite:///{project / '.hedonic' / 'history.db'}")
    champion = None
    for kind, release in (
        ("promoted", "1" * 64),
        ("promoted", flow.result.release),
        ("rolled_back", "1" * 64),
    ):
        entry = Entry(dataset="toy", kind=kind, release=release, actor="ana", reason="x")
        history.append(entry, expected_champion=champion)
        champion = release
        expected = 3 if kind == "rolled_back" else 0
        assert hedonic("run", "toy", "--require-promotion")[0] == expected


def test_a_result_with_nothing_to_show_is_shown(hedonic, flow, project):
    nothing = dict.fromkeys(("verdict", "release", "bento", "endpoint", "prediction"))
    flow.result = result(project, "refused", **nothing, figures={}, written={})
    code, out, _ = hedonic("run", "toy")
    assert code == 0
    assert "refused toy" in out
    assert "served at" not in out


def test_without_a_server_an_unchanged_data_set_starts_no_flow(hedonic, flow, project):
    flow.recognise = lambda **parameters: result(project, "unchanged", bento=str(parameters))
    flow.api = None
    code, out, _ = hedonic("run", "toy", "--json")
    assert (code, flow.parameters) == (0, None)
    assert json.loads(out)["bento"] == "{'dataset': 'toy'}"
    hedonic("run", "toy", "--from-step", "tune")
    assert flow.parameters == {"dataset": "toy", "from_step": "tune"}


def test_with_a_server_every_run_is_seen_there(hedonic, flow, project):
    flow.recognise = lambda **_: result(project, "unchanged")
    hedonic("run", "toy")
    assert flow.parameters == {"dataset": "toy"}
    assert os.environ["PREFECT_API_URL"] == "http://server/api"


def test_what_recognises_nothing_lets_the_flow_run(hedonic, flow):
    flow.api, flow.recognise = None, lambda **_: None
    assert hedonic("run", "toy")[0] == 0
    assert flow.parameters == {"dataset": "toy"}


def test_an_unknown_data_set_is_told_with_the_known_ones_before_anything_starts(hedonic, flow):
    code, _, told = hedonic("run", "nothing")
    assert (code, flow.parameters) == (2, None)
    assert "Known data sets: toy" in told


@pytest.mark.parametrize("families", ["boosting", "ridge,boosting", ","])
def test_a_family_that_the_contract_does_not_search_is_told(hedonic, flow, families):
    code, _, told = hedonic("run", "toy", "--families", families)
    assert (code, flow.parameters) == (2, None)
    assert "toy searches median, ridge" in told


def test_what_is_left_to_do_before_the_champion_serves_is_said(hedonic, flow, project):
    flow.result = result(project, endpoint=None, prediction=None, to_do="Set the image: kubectl set image")
    code, out, _ = hedonic("run", "toy")
    assert (code, "Set the image: kubectl set image" in out, "served at" in out) == (0, True, False)
