"""Readiness: an endpoint that is not there, or ends amid its answer, is one that is not ready."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hedonic.readiness import release_at
from tests.ports import free_port

WHOLE = b'{"model": {"release": "abc"}, "dataset": "town", "bento": null}'


@pytest.fixture
def endpoint():
    """Return a server, whose ``content`` is what ``/model/info`` says of ``length`` bytes."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self):
            content = b"" if self.path == "/readyz" else self.server.content
            self.send_response(200)
            self.send_header("Content-Length", str(len(content) and self.server.length))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    server.content, server.length = WHOLE, len(WHOLE)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_that_answers_whole_is_ready(endpoint):
    assert release_at(f"http://127.0.0.1:{endpoint.server_port}", {}) == "abc"


def test_one_that_ends_amid_its_answer_or_says_something_else_is_not_ready(endpoint):
    url = f"http://127.0.0.1:{endpoint.server_port}"
    endpoint.length += 10
    assert release_at(url, {}) is None
    endpoint.content, endpoint.length = b"[]", 2
    assert release_at(url, {}) is None


def test_one_that_is_not_there_is_not_ready():
    assert release_at(f"http://127.0.0.1:{free_port()}", {}) is None
