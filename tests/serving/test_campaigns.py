"""Campaigns against a served contract: whatever is sent, an answer is right or says what is wrong."""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.drills import FULL, count
from tests.instances import bodies, every_wrong_value, wrong_bodies
from tests.serving.conftest import ROOT
from tests.tiny_release import ROW, tiny_contract

pytestmark = [pytest.mark.slow, pytest.mark.drill]

EXAMPLES = count(few=300, promised=10_000)
CASES_PROMISED = 10_000
HERE = Path(__file__).parent
SOON_CLOSED_S = 2.0
"""A connection that is idle for 5 s is closed by the server, and drawing an example can take a while."""


def campaign():
    """Return the settings of a drill by hypothesis: as many examples, the same ones each time."""
    return settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def no_constant(literal):
    raise AssertionError(f"{literal} is no JSON")


class Line:
    """One connection to an endpoint, kept open."""

    def __init__(self, served):
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
        self._last = time.monotonic()
        self.statuses = Counter()

    def post(self, body, path="/predict"):
        if time.monotonic() - self._last > SOON_CLOSED_S:
            self._connection.close()  # opened again by the next request
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = json.loads(answer.read(), parse_constant=no_constant)
        self._last = time.monotonic()
        self.statuses[answer.status] += 1
        return answer.status, content


@pytest.fixture
def line(served):
    return Line(served)


def check_prediction(prediction):
    (low_80, high_80), (low_90, high_90) = prediction["interval_80"], prediction["interval_90"]
    estimate = prediction["estimate"]
    assert all(math.isfinite(number) for number in (estimate, low_80, high_80, low_90, high_90))
    assert low_90 <= low_80 <= estimate <= high_80 <= high_90
    assert prediction["confidence"]["grade"] in "ABCD"


def test_every_row_that_the_contract_takes_is_answered_with_finite_numbers(served, line, drill_table):
    n_rows = 0

    @campaign()
    @given(rows=bodies(tiny_contract(), [ROW]))
    def ask(rows):
        nonlocal n_rows
        status, content = line.post(json.dumps({"instances": rows}))
        assert status == 200, content
        assert len(content["predictions"]) == len(rows)
        for prediction in content["predictions"]:
            check_prediction(prediction)
        n_rows += len(rows)

    started = time.monotonic()
    ask()
    asked = line.statuses.total()
    assert asked >= EXAMPLES
    told = f"{n_rows:,} rows: each 200, finite and inside its intervals ({time.monotonic() - started:.0f} s)"
    drill_table.add("valid requests of the contract over HTTP", asked, told)


def test_one_wrong_field_is_400_and_named_and_nothing_else_is(served, line, drill_table):
    @campaign()
    @given(wrong=wrong_bodies(tiny_contract(), [ROW]))
    def ask(wrong):
        status, content = line.post(wrong.body)
        assert status == 400, content
        assert [problem["path"] for problem in content["error"]["problems"]] == [wrong.path]

    started = time.monotonic()
    ask()
    asked = line.statuses.total()
    assert asked >= EXAMPLES
    told = f"each 400 with exactly the path of its field ({time.monotonic() - started:.0f} s)"
    drill_table.add("requests wrong in one field over HTTP", asked, told)


def test_no_field_takes_a_value_of_another_type(served, line):
    for wrong in every_wrong_value(tiny_contract(), ROW):
        status, content = line.post(wrong.body)
        assert status == 400, wrong
        assert [problem["path"] for problem in content["error"]["problems"]] == [wrong.path], wrong
    assert set(line.statuses) == {400}
    assert line.statuses.total() > 100


def test_schemathesis_finds_nothing_in_our_own_document(served, tmp_path, drill_table):
    command = [
        Path(sys.executable).with_name("st"), "--config-file", HERE / "schemathesis.toml",
        "run", f"http://127.0.0.1:{served.port}/docs.json", "--no-color", "--seed", "1",
        "--generation-database", "none", "--max-examples", str(count(few=4, promised=900)),
        "--request-timeout", "30", "--continue-on-failure",
        *(() if FULL else ("--phases", "examples,coverage,fuzzing")),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.serving.schemathesis_checks",
        "PYTHONPATH": str(ROOT),
    }
    started, logged = time.monotonic(), len(served.log.read_text())
    done = subprocess.run(
        [*map(str, command)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    (generated,) = re.findall(r"([\d,]+) generated, [\d,]+ passed", done.stdout)
    n_cases = int(generated.replace(",", ""))
    n_operations = sum(len(methods) for methods in served.ask("GET", "/docs.json").json["paths"].values())
    assert f"Tested: {n_operations}" in done.stdout
    assert n_cases >= (CASES_PROMISED if FULL else 300)
    told = f"{n_operations} operations: nothing found ({time.monotonic() - started:.0f} s)"
    drill_table.add("schemathesis on our own OpenAPI document", n_cases, told)
    assert '"level": "error"' not in served.log.read_text()[logged:]
