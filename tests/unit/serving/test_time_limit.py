"""What BentoML's time limit ends, and what the log refuses, has the shape of every other error."""

import asyncio
import json
import threading
from dataclasses import replace

import pytest
from bentoml._internal.server.http.traffic import TimeoutMiddleware

from hedonic.serving.answering import Answering
from hedonic.serving.asgi import SCOPE_KEY, send_json
from hedonic.serving.envelope import Envelope
from hedonic.serving.prediction_log import LogUnavailable
from hedonic.serving.predictor import load_release
from tests.asgi import ask, scope_of
from tests.tiny_release import ROW, tiny_release

BODY = json.dumps({"instances": [ROW]}).encode()


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return load_release(tiny_release(tmp_path_factory.mktemp("store")))


class SlowExplainer:
    def __init__(self, until):
        self.until = until

    def explain(self, _columns):
        assert self.until.wait(30)
        return []


def envelope(answer):
    """Return the envelope around what answers by a function of ours, under a time limit of BentoML's."""

    async def app(scope, receive, send):
        await send_json(send, *await answer(scope[SCOPE_KEY], "application/json", BODY))

    return Envelope(TimeoutMiddleware(app, timeout=0.05))


def test_an_explanation_that_takes_too_long_is_a_504_of_our_shape(release):
    enough = threading.Event()
    slow = Answering(lambda: replace(release, explainer=SlowExplainer(enough)))
    try:
        answer = asyncio.run(ended(envelope(slow.explain), enough))
    finally:
        enough.set()
    assert (answer.status, answer.error) == (504, "internal_error")
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert "50" not in answer.json["error"]["message"]


async def ended(app, enough):
    answer = await ask(app, scope=scope_of(path="/explain"))
    enough.set()
    return answer


def test_an_explanation_in_time_is_passed_on(release):
    quick = Answering(lambda: release)
    answer = asyncio.run(ask(Envelope(app_of(quick.explain)), scope=scope_of(path="/explain")))
    assert (answer.status, len(answer.json["explanations"])) == (200, 1)


def app_of(answer):
    async def app(scope, receive, send):
        await send_json(send, *await answer(scope[SCOPE_KEY], "application/json", BODY))

    return app


class FullLog:
    """A log that can write nothing down."""

    dropped = 0

    def record(self, _answered):
        raise LogUnavailable("no room")


def test_a_503_always_says_when_to_come_back(release):
    refusing = Answering(lambda: release, FullLog())
    answer = asyncio.run(ask(Envelope(app_of(refusing.answer)), scope=scope_of()))
    assert (answer.status, answer.error) == (503, "log_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_503_that_says_when_keeps_its_word():
    async def app(scope, receive, send):
        await send_json(send, 503, b"{}", ((b"retry-after", b"7"),))

    answer = asyncio.run(ask(Envelope(app), scope=scope_of()))
    assert [pair for pair in answer.messages[0]["headers"] if pair[0] == b"retry-after"] == [
        (b"retry-after", b"7")
    ]
