"""What every answer carries, and the one shape of every error."""

import asyncio
import json

import pytest

from hedonic.serving.answer_headers import Cors
from hedonic.serving.envelope import Envelope
from hedonic.serving.responses import error_body
from tests.asgi import ask, scope_of

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


def answering(status=200, kind=b"application/json", headers=(), body=b"{}"):
    async def app(scope, receive, send):
        started = [(b"content-type", kind), (b"server", b"Framework/1.0"), *headers]
        await send({"type": "http.response.start", "status": status, "headers": started})
        await send({"type": "http.response.body", "body": body})

    return app


def asked(app, **scope):
    return asyncio.run(ask(app, scope=scope_of(**scope)))


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_every_answer_has_an_id_and_the_security_headers_and_no_server_s_name(status):
    answer = asked(Envelope(answering(status)))
    assert SECURITY.items() <= answer.headers.items()
    assert len(answer.headers["x-request-id"]) == 32
    assert "server" not in answer.headers


def test_a_page_may_load_what_we_serve_and_nothing_else():
    policy = asked(Envelope(answering(kind=b"text/html; charset=utf-8"))).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not_found"), (405, "method_not_allowed"), (418, "bad_request"), (500, "internal_error"),
     (502, "internal_error"), (503, "not_ready")],
)  # fmt: skip
def test_what_a_framework_answers_with_an_error_gets_our_body(status, code):
    headers = [(b"allow", b"GET"), (b"retry-after", b"3"), (b"x-other", b"1"), (b"content-length", b"6")]
    answer = asked(Envelope(answering(status, b"text/html", headers, b"<oops>")))
    assert (answer.status, answer.error) == (status, code)
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert (answer.headers["allow"], answer.headers["retry-after"]) == ("GET", "3")
    assert "x-other" not in answer.headers


def test_an_error_that_a_handler_of_ours_shaped_is_left_as_it_is():
    async def app(scope, receive, send):
        scope["hedonic.exchange"].answered = True
        await answering(400, body=error_body("mine", "told", "id"))(scope, receive, send)

    assert asked(Envelope(app)).error == "mine"


def test_a_failure_is_an_opaque_500_and_the_log_has_it_under_the_id(caplog):
    async def app(scope, receive, send):
        raise ValueError("a secret of ours")

    answer = asked(Envelope(app))
    assert (answer.status, answer.error) == (500, "internal_error")
    assert b"secret" not in answer.body
    assert answer.json["request_id"] in caplog.text
    assert "a secret of ours" in caplog.text


def test_an_answer_that_breaks_off_is_not_patched_up():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        asked(Envelope(app))


def test_pages_of_allowed_origins_may_read_the_answer_and_its_id_also_when_it_is_an_error():
    app = Envelope(answering(404), Cors(["https://prices.example.com"]))
    headers = asked(app, headers={"origin": "https://prices.example.com"}).headers
    assert headers["access-control-allow-origin"] == "https://prices.example.com"
    assert "x-request-id" in headers["access-control-expose-headers"]
    assert headers["vary"] == "origin"


def test_pages_of_other_origins_may_not_and_without_a_list_nobody_may():
    for app in (Envelope(answering(), Cors(["https://prices.example.com"])), Envelope(answering())):
        for headers in ({}, {"origin": "https://evil.example"}):
            assert "access-control-allow-origin" not in asked(app, headers=headers).headers
    everyone = Envelope(answering(), Cors(["*"]))
    assert asked(everyone, headers={"origin": "https://a.example"}).headers["access-control-allow-origin"]


@pytest.mark.parametrize(("status", "n_sent"), [(200, 2), (404, None)])
def test_the_end_of_every_exchange_is_told_once_with_its_status_and_bytes(status, n_sent):
    told = []
    answer = asked(
        Envelope(answering(status), finished=lambda exchange, seconds: told.append((exchange, seconds)))
    )
    ((exchange, seconds),) = told
    assert (exchange.status, exchange.path, exchange.method) == (status, "/predict", "POST")
    assert exchange.n_sent == (n_sent or len(json.dumps(answer.json, separators=(",", ":"))))
    assert 0 <= seconds < 10
