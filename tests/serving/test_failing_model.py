"""A verified release that fails on some rows: our fault is an opaque 500, told in the log alone."""

import contextlib
import json
import re
import threading
from dataclasses import replace

import numpy as np
import pytest

from hedonic.model.scorers import Design, NetworkScorer
from tests.endpoints import start_endpoint
from tests.serving.test_valuation import error
from tests.tiny_release import ROW, tiny_model, tiny_release

pytestmark = pytest.mark.slow

GOOD, BAD = ROW, {**ROW, "garden": 5000}
PATHS = ("/predict", "/api/predict", "/api/v1/predict", "/explain", "/invocations", "/score")
LEAKS = ("Traceback", "File ", "inf", "nan", "exp", "HedonicError", "numpy", "src/", "site-packages", "5000")


def model_that_overflows_in_large_gardens():
    """Return a model whose log estimate grows with the garden: e to the 5012 is no number."""
    garden = Design(
        numbers=np.array([5]), fill=np.zeros(1), mean=np.zeros(1), scale=np.ones(1), clip=1e9,
        categories=(), codes=(),
    )  # fmt: skip
    scorer = NetworkScorer(garden, (np.ones((1, 1)),), (np.full(1, 12.0),))
    return replace(tiny_model(), family="ridge", point=scorer)


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    home = tmp_path_factory.mktemp("failing_home")
    with contextlib.ExitStack() as stack:
        model = model_that_overflows_in_large_gardens()
        endpoint, _ = start_endpoint(
            stack, home, tiny_release(home / "releases", model), HEDONIC_GUARD__QUEUE_WAIT_S="30"
        )
        yield endpoint


def logged(endpoint, request_id):
    lines = (json.loads(line) for line in endpoint.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if request_id in str(line)]


def check_opaque(endpoint, answer):
    error(answer, 500, "internal_error")
    content = answer.body.decode() + str(answer.headers).replace("max-age", "")
    content = content.replace(answer.json["request_id"], "")  # its digits are drawn
    assert not [leak for leak in LEAKS if leak in content], content
    told = logged(endpoint, answer.json["request_id"])
    assert any(line["level"] == "error" and "Traceback" in str(line) for line in told), told


@pytest.mark.parametrize("path", PATHS)
def test_a_row_on_which_the_model_fails_is_an_opaque_500(failing, path):
    assert failing.predict(GOOD, path=path).status == 200
    check_opaque(failing, failing.predict(BAD, path=path))
    check_opaque(failing, failing.predict(GOOD, BAD, GOOD, path=path))
    assert failing.predict(GOOD, path=path).status == 200


def test_a_declared_route_fails_as_the_short_cut_does(failing):
    check_opaque(failing, failing.predict(BAD, path="/predict?declared"))


def test_a_table_on_which_the_model_fails_is_an_opaque_500(failing):
    text = "bedrooms,area,built,lake,quarter,garden\n3,1350.5,1950,false,Hill,{}\n"
    assert failing.post(text.format(200).encode(), "/invocations", "text/csv").status == 200
    check_opaque(failing, failing.post(text.format(5000).encode(), "/invocations", "text/csv"))


def test_a_failing_request_takes_no_other_with_it(failing):
    answers = []
    callers = [
        threading.Thread(target=lambda row=row: answers.append((row, failing.predict(row))))
        for row in [GOOD, BAD] * 20
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert len(answers) == 40
    for row, answer in answers:
        assert answer.status == (200 if row is GOOD else 500)


def test_the_faults_of_callers_are_told_and_come_before_the_models(failing):
    answer = failing.predict({**BAD, "bedrooms": "3"}, {**GOOD, "lake": 1})
    problems = error(answer, 400, "invalid_request")["problems"]
    assert [problem["path"] for problem in problems] == ["instances[0].bedrooms", "instances[1].lake"]


def test_failures_are_counted_and_the_endpoint_stays_ready(failing):
    failing.predict(BAD)
    figures = failing.ask("GET", "/metrics").body.decode()
    lines = [line for line in figures.splitlines() if re.match(r"hedonic_requests_total.*\"error\"", line)]
    assert lines, figures[:2000]
    assert failing.ask("GET", "/readyz").status == 200
