"""The canary stage: what the endpoint's figures make of a promotion, and what is left behind."""

import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hedonic.canary_stage import run_canary
from hedonic.errors import HedonicError
from hedonic.promotion.verdict import Finding, Verdict
from hedonic.serving.traffic_plan import TrafficPlan
from hedonic.serving.traffic_plan_file import PlanFile
from hedonic.settings import Settings
from tests.contracts import car_contract
from tests.ports import free_port

CHAMPION, RELEASE = "c1" * 32, "ab" * 32
POLICY = {"share": 0.5, "requests": 40, "window": 20, "limit_s": 20, "otherwise": "refuse", "max_errors": 2}


def contract(port=None, **changes):
    return car_contract(
        serve={"port": port or free_port()}, gate={"limits": [], "canary": {**POLICY, **changes}}
    )


@pytest.fixture
def settings(tmp_path):
    return Settings(root=tmp_path, home=tmp_path / ".hedonic")


@pytest.fixture
def plans(settings):
    return PlanFile(settings.home, "cars")


@pytest.fixture
def endpoint(plans):
    """Start an endpoint that follows the plan and tells the traffic it is given, one entry a look."""
    servers = []

    def start(*told, release=CHAMPION):
        looks = list(told)
        seen = []

        class Info(BaseHTTPRequestHandler):
            def do_GET(self):
                plan = plans.read()
                traffic = None
                if plan is not None:
                    seen.append(plan)
                    state = {"n": 0, "errors": 0, "disagreement": None, "state": "running", "reason": None}
                    traffic = {"plan": plan.digest, **state, **(looks.pop(0) if len(looks) > 1 else looks[0])}
                body = json.dumps({"dataset": "cars", "model": {"release": release}, "traffic": traffic})
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Info)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1], seen

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def tried(settings, asked, champion=CHAMPION):
    return run_canary(settings, asked, RELEASE, champion)


def test_a_release_that_answered_all_its_requests_passes(settings, plans, endpoint):
    port, seen = endpoint({"n": 3}, {"n": 40, "disagreement": 0.021})
    trial = tried(settings, contract(port))
    assert (trial.finding.check, trial.finding.outcome) == ("canary", "passed")
    assert "answered 40 requests as a canary, 0 errors, a median of 2.10% from" in trial.finding.sentence
    assert (trial.n, trial.disagreement) == (40, 0.021)
    plan = seen[0]
    assert (plan.mode, plan.release, plan.share) == ("canary", RELEASE, 0.5)
    assert (plan.limits.max_errors, plan.limits.window) == (2, 20)
    assert plan.until > datetime.now(UTC)  # it ends by itself, should this process die
    assert plans.read() is None


@pytest.mark.parametrize("state", ["stopped", "refused"])
def test_a_release_that_is_stopped_or_refused_is_an_issue_with_the_reason(settings, endpoint, state):
    port, _ = endpoint({"n": 1}, {"n": 20, "errors": 2, "state": state, "reason": "it is three times off"})
    trial = tried(settings, contract(port))
    assert (trial.finding.check, trial.finding.outcome) == ("canary", "issue")
    assert "it is three times off" in trial.finding.sentence


@pytest.mark.parametrize(("otherwise", "outcome"), [("refuse", "issue"), ("promote", "not applicable")])
def test_when_too_few_requests_come_the_contract_says_what_becomes_of_it(
    settings, endpoint, plans, otherwise, outcome
):
    port, _ = endpoint({"n": 7})
    trial = tried(settings, contract(port, limit_s=0.3, otherwise=otherwise))
    assert (trial.finding.check, trial.finding.outcome) == ("canary-untried", outcome)
    told = f"only 7 of 40 requests came to the canary in 0.3 s; gate.canary.otherwise says {otherwise}"
    assert trial.finding.sentence == told
    assert plans.read() is None


@pytest.mark.parametrize(("otherwise", "outcome"), [("refuse", "issue"), ("promote", "not applicable")])
def test_without_an_endpoint_the_contract_says_what_becomes_of_it(settings, plans, otherwise, outcome):
    trial = tried(settings, contract(otherwise=otherwise))
    assert (trial.finding.check, trial.finding.outcome) == ("canary-untried", outcome)
    assert "no endpoint answers at http://127.0.0.1:" in trial.finding.sentence
    assert plans.read() is None


def test_an_endpoint_that_serves_another_release_is_no_champions(settings, endpoint):
    port, _ = endpoint({"n": 40}, release="dd" * 32)
    assert "serves dddddddddddddddd and not the champion" in tried(settings, contract(port)).finding.sentence


def test_with_no_champion_there_is_nothing_to_try_it_on(settings):
    finding = tried(settings, contract(), champion=None).finding
    assert (finding.check, finding.outcome) == ("canary", "not applicable")


def test_the_plan_that_was_in_force_before_is_in_force_again(settings, endpoint, plans):
    before = TrafficPlan(mode="shadow", challenger=f"/{'ef' * 32}", share=1.0)
    plans.write(before)
    port, _ = endpoint({"n": 40})
    assert tried(settings, contract(port)).finding.outcome == "passed"
    assert plans.read() == before


def test_a_plan_that_somebody_wrote_meanwhile_stays(settings, endpoint, plans):
    port, seen = endpoint({"n": 1})
    by_hand = TrafficPlan(mode="ab", challenger=f"/{'ef' * 32}", share=1.0)

    def write_by_hand():
        deadline = time.monotonic() + 10
        while not seen and time.monotonic() < deadline:
            time.sleep(0.01)
        plans.write(by_hand)

    somebody = threading.Thread(target=write_by_hand)
    somebody.start()
    trial = tried(settings, contract(port, limit_s=1))
    somebody.join()
    assert trial.finding.check == "canary-untried"
    assert plans.read() == by_hand


def test_a_contract_that_asks_for_no_canary_has_no_such_stage(settings):
    with pytest.raises(HedonicError, match=r"gate\.canary is not in the contract"):
        run_canary(settings, car_contract(), RELEASE, CHAMPION)


# The verdict


def verdict(kind="promoted"):
    better = Finding(check="better", outcome="passed", sentence="better by a lot")
    return Verdict(promoted=kind == "promoted", kind=kind, reasons=(better,))


@pytest.mark.parametrize(
    ("check", "outcome", "kind", "about_it"),
    [
        ("canary", "passed", "promoted", True),
        ("canary", "issue", "refused", True),
        ("canary-untried", "issue", "refused", False),
        ("canary-untried", "not applicable", "promoted", True),
    ],
)
def test_an_issue_of_the_canary_refuses_and_all_else_promotes(check, outcome, kind, about_it):
    joined = verdict().joined_by(Finding(check=check, outcome=outcome, sentence="told"))
    assert (joined.kind, joined.promoted) == (kind, kind == "promoted")
    assert joined.is_about_the_candidate is about_it
    assert len(joined.reasons) == 2
    if outcome == "issue":
        assert joined.summary == "refused: told"


def test_a_verdict_that_did_not_promote_stays_what_it_was():
    joined = verdict("kept").joined_by(Finding(check="canary", outcome="issue", sentence="told"))
    assert joined.kind == "kept"
