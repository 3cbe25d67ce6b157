"""Web hooks: told once, in the open only on loopback, and never named in a log."""

from __future__ import annotations

import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from delivery import webhook
from tests.ports import free_port


@pytest.fixture
def hook():
    """Return the URL of a hook, what it was told, and the status it answers with."""
    told, status = [], [204]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *_):
            """Stay quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/services/s3cret", told, status
    server.shutdown()
    server.server_close()
    thread.join()


def tell(monkeypatch, url, *fields):
    monkeypatch.setattr(sys, "stdin", io.StringIO(url))
    monkeypatch.setattr(
        sys, "argv", ["webhook", "--url-from", "-", *(f"--field={field}" for field in fields)]
    )
    return webhook.main()


def test_a_hook_is_told_the_fields(monkeypatch, hook):
    url, told, _ = hook
    assert tell(monkeypatch, f"{url}\n", "text=retrain failed, a=b", "dataset=town") == 0
    assert told == [{"text": "retrain failed, a=b", "dataset": "town"}]


def test_a_hook_that_refuses_is_a_failure_and_its_url_stays_secret(monkeypatch, hook, capsys):
    url, _, status = hook
    status[0] = 403
    assert tell(monkeypatch, url, "text=x") == 1
    assert capsys.readouterr().err == "web hook: answered 403\n"


@pytest.mark.parametrize(
    "url", ["http://hooks.example.com/s3cret", "", "file:///etc/passwd", "http://127.0.0.1:{port}/s3cret"]
)
def test_a_hook_that_is_none_or_would_be_told_in_the_open_is_a_failure(monkeypatch, capsys, url):
    assert tell(monkeypatch, url.format(port=free_port()), "text=x") == 1
    said = capsys.readouterr().err
    assert said.startswith("web hook: ")
    assert "s3cret" not in said
