"""A promotion with a canary stage, for real: the champion's own callers judge the release."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flows.train import train
from hedonic.answer import example_row
from hedonic.data.contract_file import load_contract
from hedonic.promotion.history import History
from hedonic.promotion.registry.store import model_name, open_client
from hedonic.serving.traffic_plan_file import PlanFile
from hedonic.settings import Settings
from tests.project import write_contract

pytestmark = pytest.mark.slow

DATASET = "small_county"
GATE: dict[str, Any] = {"limits": [{"metric": "mdape_pct", "maximum": 25}]}
CANARY: dict[str, Any] = {"share": 0.5, "requests": 24, "window": 12, "limit_s": 90}


def asked_for(project: Settings, features: dict[str, Any] | None = None, **canary: Any) -> None:
    """Write the contract with a canary stage, and some of its features replaced; its port stays."""
    port = load_contract(project.expectations / f"{DATASET}.yaml").serve.port
    gate = {**GATE, "canary": {**CANARY, **canary}}
    write_contract(project.root, serve={"port": port}, gate=gate, features=features or {})


@contextmanager
def callers(project: Settings) -> Iterator[list[tuple[int, str]]]:
    """Ask the endpoint all the while; give status and release of every answer."""
    contract = load_contract(project.expectations / f"{DATASET}.yaml")
    body, over, answers = json.dumps({"instances": [example_row(contract)]}), threading.Event(), []

    def ask() -> None:
        number = 0
        while not over.wait(0.02):
            number += 1
            key = {"X-Request-Key": f"caller-{number % 50}", "Content-Type": "application/json"}
            # A connection each: where the served code changed, another process takes over the socket.
            connection = http.client.HTTPConnection("127.0.0.1", contract.serve.port, timeout=60)
            try:
                connection.request("POST", "/predict", body, key)
                answer = connection.getresponse()
                content = json.loads(answer.read())
                answers.append((answer.status, content.get("model", {}).get("release", "")))
            except OSError as err:
                answers.append((0, repr(err)))
            finally:
                connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def first(project: Settings) -> Any:
    """The first champion, which knows no comparable sales: there is none before it that has requests."""
    asked_for(project, features={"comparables": None})
    result = train(dataset=DATASET, families=("ridge",), reason="first")
    assert result.outcome == "promoted"
    return result


def champion(project: Settings) -> str | None:
    record = History(project.history).champion(DATASET)
    return record.release if record else None


def check(result: Any, name: str) -> Any:
    (found,) = [finding for finding in result.verdict.reasons if finding.check == name]
    return found


def test_with_no_champion_the_first_release_needs_no_canary(first: Any) -> None:
    assert check(first, "canary").outcome == "not applicable"


def test_a_release_that_is_stopped_as_a_canary_is_refused_and_the_champion_stays(
    first: Any, project: Settings
) -> None:
    asked_for(project, max_disagreement=1e-6)  # whatever is not the champion is too far from it
    with callers(project) as answers:
        refused = train(dataset=DATASET, families=("ridge",), reason="stopped")
    assert refused.outcome == "refused"
    assert refused.release is None
    found = check(refused, "canary")
    assert (found.outcome, found.value) == ("issue", 12)
    assert "stopped as a canary after 12 requests: it is a median of" in found.sentence
    assert check(refused, "better").outcome == "passed"  # the gate alone would have promoted it
    assert champion(project) == first.release
    assert {status for status, _ in answers} == {200}
    served = {release for _, release in answers}
    assert first.release in served
    assert len(served) == 2
    assert answers[-1][1] == first.release
    assert PlanFile(project.home, DATASET).read() is None
    client = open_client(project)
    aliases = client.get_registered_model(model_name(DATASET)).aliases
    assert set(aliases) == {"champion"}


def test_without_callers_the_contract_says_what_becomes_of_it(first: Any, project: Settings) -> None:
    asked_for(project, max_disagreement=5, limit_s=30)
    refused = train(dataset=DATASET, families=("ridge",), reason="nobody asked")
    assert refused.outcome == "refused"
    told = "only 0 of 24 requests came to the canary in 30 s; gate.canary.otherwise says refuse"
    assert check(refused, "canary-untried").sentence == told
    assert champion(project) == first.release


def test_with_callers_it_is_tried_again_and_promoted_and_no_request_fails(
    first: Any, project: Settings
) -> None:
    # The very undertaking of before: it is not "unchanged", for nothing was learned about it.
    with callers(project) as answers:
        promoted = train(dataset=DATASET, families=("ridge",), reason="better")
    assert promoted.outcome == "promoted"
    found = check(promoted, "canary")
    assert found.outcome == "passed"
    assert found.value >= 24
    assert champion(project) == promoted.release
    assert {status for status, _ in answers} == {200}
    assert answers[0][1] == first.release
    assert answers[-1][1] == promoted.release
