"""``hedonic traffic`` writes the plan that the endpoint follows, and tells how the challenger does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hedonic.serving.traffic_plan_file import PlanFile

ONE, OTHER = "a1" * 32, "a2" * 32


@pytest.fixture
def store(project):
    folder = project / ".hedonic" / "releases" / "toy"
    for digest in (ONE, OTHER):
        (folder / digest).mkdir(parents=True)
    return folder


@pytest.fixture
def plans(project):
    return PlanFile(project / ".hedonic", "toy")


@pytest.fixture
def endpoint(free_port, plans):
    """An endpoint that follows the plan at once, and says what it is told to say of it."""
    told = {"n": 7, "errors": 1, "disagreement": 0.0312, "state": "running", "reason": None, "answered": {}}

    class Info(BaseHTTPRequestHandler):
        def do_GET(self):
            plan = plans.read()
            traffic = None if plan is None else {"plan": plan.digest, "mode": plan.mode, **told}
            body = json.dumps({"dataset": "toy", "traffic": traffic}).encode()
            self.send_response(401 if told.get("closed") else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", free_port), Info)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield told
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("mode", ["shadow", "canary", "ab"])
def test_the_plan_is_written_for_a_release_by_the_beginning_of_its_digest(
    hedonic, store, plans, endpoint, mode
):
    code, out, _ = hedonic("traffic", "toy", f"--{mode}", "a1", "--share", "0.3", "--max-errors", "9")
    plan = plans.read()
    assert code == 0
    assert (plan.mode, plan.release, plan.challenger) == (mode, ONE, str(store / ONE))
    assert (plan.share, plan.limits.max_errors, plan.limits.window) == (0.3, 9, 50)
    assert f"toy: {mode} of release {ONE}, share 0.3" in out
    assert "running" in out
    assert "3.12%" in out


def test_the_same_plan_asked_for_again_is_another_plan(hedonic, store, plans, endpoint):
    hedonic("traffic", "toy", "--ab", ONE)
    first = plans.read().digest
    hedonic("traffic", "toy", "--ab", ONE)
    assert plans.read().digest != first


def test_off_leaves_the_champion_alone(hedonic, store, plans, endpoint):
    hedonic("traffic", "toy", "--shadow", ONE)
    code, out, _ = hedonic("traffic", "toy", "--off")
    assert (code, plans.read()) == (0, None)
    assert "the champion answers alone" in out


def test_without_options_plan_and_live_figures_are_told(hedonic, store, plans, endpoint):
    hedonic("traffic", "toy", "--canary", ONE)
    endpoint |= {"state": "stopped", "reason": "3 errors in 5 requests; the limit is 3"}
    code, out, _ = hedonic("traffic", "toy")
    assert code == 0
    assert "stopped: 3 errors in 5 requests; the limit is 3" in out
    content = json.loads(hedonic("traffic", "toy", "--json")[1])
    assert content["plan"]["release"] == ONE
    assert (content["live"]["n"], content["live"]["state"]) == (7, "stopped")


def test_with_no_endpoint_the_plan_waits_for_one(hedonic, store, plans):
    code, out, _ = hedonic("traffic", "toy", "--canary", f"file://{store / OTHER}")
    assert (code, plans.read().release) == (0, OTHER)
    assert "start it with: hedonic serve toy" in out


def test_an_endpoint_that_asks_for_a_token_is_told(hedonic, store, endpoint):
    endpoint["closed"] = True
    code, _, err = hedonic("traffic", "toy")
    assert (code, "asks for its token: set HEDONIC_API_TOKEN" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--shadow", ONE, "--ab", OTHER), "give one of --shadow, --canary, --ab and --off"),
        (("--off", "--ab", OTHER), "give one of --shadow, --canary, --ab and --off"),
        (("--ab", "ff"), "toy: ff: no such release"),
        (("--ab", "a"), "a: several releases begin so"),
        (("--ab", "ftp://x/y"), "names no release that can be served"),
        (
            ("--ab", ONE, "--max-disagreement", "-1"),
            "limits.max_disagreement: Input should be greater than 0",
        ),
    ],
)
def test_what_cannot_be_tried_is_told_and_no_plan_is_written(hedonic, store, plans, arguments, told):
    code, _, err = hedonic("traffic", "toy", *arguments)
    assert (code, plans.read()) == (2, None)
    assert told in err
