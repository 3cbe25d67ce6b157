"""``hedonic predict`` asks the running endpoint and tells what it answered, or why not."""

from __future__ import annotations

import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.unit.cli.test_run import PREDICTION

ANSWER = {
    "predictions": [PREDICTION],
    "model": {"name": "toy", "version": "1", "release": "f" * 64},
    "request_id": "r-1",
}


class Endpoint(BaseHTTPRequestHandler):
    status, body, seen = 200, b"", None

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["content-length"]))
        type(self).seen = (self.path, self.headers["content-type"], json.loads(raw))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint(free_port):
    handler = type("Fresh", (Endpoint,), {"body": json.dumps(ANSWER).encode()})
    server = HTTPServer(("127.0.0.1", free_port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_default_row_is_the_contracts_example(hedonic, endpoint):
    code, out, _ = hedonic("predict", "toy")
    assert code == 0
    assert endpoint.seen == ("/predict", "application/json", {"instances": [{"area": 120, "rooms": 3}]})
    assert "451,234 USD" in out
    assert "80 % interval: 400,000 to 500,000" in out
    assert f"release {'f' * 64}, request r-1" in out


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ({"area": 1}, [{"area": 1}]),
        ([{"area": 1}, {"area": 2}], [{"area": 1}, {"area": 2}]),
        ({"instances": [{"area": 3}]}, [{"area": 3}]),
    ],
)
def test_rows_come_from_a_file(hedonic, endpoint, project, content, rows):
    (project / "row.json").write_text(json.dumps(content))
    assert hedonic("predict", "toy", "--from", "row.json")[0] == 0
    assert endpoint.seen[2] == {"instances": rows}


def test_a_row_comes_from_standard_input_and_the_answer_goes_to_machines(hedonic, endpoint, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"area": 5}'))
    code, out, _ = hedonic("predict", "toy", "--from", "-", "--json")
    assert (code, json.loads(out)) == (0, ANSWER)
    assert endpoint.seen[2] == {"instances": [{"area": 5}]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "row.json: not JSON"),
        ("[]", "a row is an object of column names and values; got an empty list"),
        ("[1]", "got int"),
        ('"x"', "got str"),
        ('{"area": NaN}', "cannot be sent as JSON"),
        (None, "row.json: cannot be read: No such file"),
    ],
)
def test_a_file_that_holds_no_row_is_the_users_error(hedonic, endpoint, project, text, told):
    if text is not None:
        (project / "row.json").write_text(text)
    code, _, err = hedonic("predict", "toy", "--from", "row.json")
    assert code == 2
    assert told in err
    assert endpoint.seen is None


def test_with_nothing_listening_the_remedy_is_told(hedonic, free_port):
    code, _, err = hedonic("predict", "toy")
    assert code == 2
    assert f"nothing listens at http://127.0.0.1:{free_port}. Start it with: hedonic serve toy" in err


def test_a_refused_row_is_told_field_by_field(hedonic, endpoint):
    problems = [{"path": "instances[0].area", "message": "must be a number"}]
    error = {"error": {"code": "invalid", "message": "1 problem", "problems": problems}, "request_id": "r"}
    endpoint.status, endpoint.body = 422, json.dumps(error).encode()
    code, _, err = hedonic("predict", "toy")
    assert code == 2
    assert "answered 422: 1 problem\n  instances[0].area: must be a number" in err


@pytest.mark.parametrize(
    ("status", "body"), [(503, b"not ready"), (200, b"<html>"), (200, b'{"predictions": []}')]
)
def test_an_endpoint_that_fails_is_a_failure(hedonic, endpoint, status, body):
    endpoint.status, endpoint.body = status, body
    code, _, err = hedonic("predict", "toy")
    assert code == 1
    assert f"answered {status}: {body.decode()}" in err
