"""The short-cut answers what the declared routes answer, and leaves all else to them."""

import asyncio
import json
from dataclasses import replace

import pytest

from hedonic.serving.answering import Answering
from hedonic.serving.asgi import SCOPE_KEY, Exchange
from hedonic.serving.fast_path import PREDICT_PATHS, FastPath
from hedonic.serving.guard import Guard
from hedonic.serving.guard_settings import GuardSettings
from hedonic.serving.observed_predictor import ObservedPredictor
from hedonic.serving.predictor import load_release
from hedonic.serving.responses import predict_response
from tests.asgi import ask, echo, scope_of
from tests.tiny_release import ROW, tiny_release

BODIES = [
    json.dumps({"instances": [ROW]}).encode(),
    json.dumps({"instances": [ROW, {**ROW, "area": 9000}]}).encode(),
    json.dumps({"instances": [{**ROW, "bedrooms": "3", "colour": 1}]}).encode(),
    b'{"instances": []}',
    b"{",
    b"",
]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return load_release(tiny_release(tmp_path_factory.mktemp("store")))


def answering(release):
    """Return what gives the answering by ``release``, or by none."""
    return lambda: Answering(lambda: release) if release else None


def served(release, app=echo):
    return Guard(FastPath(app, answering(release)), GuardSettings())


def asked(app, body, kind="application/json", **scope):
    return asyncio.run(ask(app, body, **{"headers": {"content-type": kind}, **scope}))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("path", sorted(PREDICT_PATHS))
def test_it_answers_the_bytes_that_the_declared_routes_answer(release, body, path):
    exchange = Exchange(request_id="f" * 32)
    answer = asked(served(release), body, path=path, exchange=exchange)
    status, wanted = predict_response(release, "application/json", body, "f" * 32)
    assert (answer.status, answer.body) == (status, wanted)
    assert answer.headers == {"content-type": "application/json", "content-length": str(len(wanted))}
    assert (exchange.answered, exchange.release) == (True, release.model.release)


def test_the_application_is_not_called_for_a_prediction(release):
    async def app(scope, receive, send):
        pytest.fail("called")

    assert asked(served(release, app), BODIES[0]).status == 200


def test_a_body_in_parts_is_answered_too(release):
    half = len(BODIES[0]) // 2
    answer = asyncio.run(ask(served(release), BODIES[0][:half], BODIES[0][half:]))
    assert answer.status == 200


@pytest.mark.parametrize(
    "unusual",
    [{"path": "/explain"}, {"path": "/predict/"}, {"method": "PUT"}, {"query": b"x=1"}],
)
def test_what_is_unusual_is_left_to_the_application(release, unusual):
    answer = asked(served(release), BODIES[0], **unusual)
    assert (answer.headers["content-type"], answer.body) == ("text/plain", BODIES[0])


def test_while_no_release_is_served_the_application_answers(release):
    assert asked(served(None), BODIES[0]).headers["content-type"] == "text/plain"


def test_a_release_that_is_swapped_answers_from_the_next_request_on(release):
    other = replace(release, model=replace(release.model, release="e" * 64))
    current = [other]
    app = Guard(FastPath(echo, lambda: Answering(lambda: current[0])), GuardSettings())
    assert asked(app, BODIES[0]).json["model"]["release"] == "e" * 64
    current[0] = release
    assert asked(app, BODIES[0]).json["model"]["release"] == release.model.release


def test_without_the_guard_it_reads_nothing_and_leaves_the_request_to_the_application(release):
    scope = scope_of()
    assert scope[SCOPE_KEY].body is None
    assert asyncio.run(ask(FastPath(echo, answering(release)), BODIES[0], scope=scope)).body == BODIES[0]


def test_a_failure_of_ours_is_an_opaque_500(release):
    def broken(predictions):
        raise ValueError("a secret of ours")

    failing = replace(release, predictor=ObservedPredictor(release.predictor, broken))
    answer = asked(served(failing), BODIES[0])
    assert (answer.status, answer.error) == (500, "internal_error")
    assert b"secret" not in answer.body
