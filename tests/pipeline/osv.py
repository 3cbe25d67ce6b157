"""A vulnerability service on loopback: it answers as OSV does, from advisories in files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ADVISORIES = Path(__file__).parent / "advisories"


@contextmanager
def vulnerability_service(*names: str) -> Iterator[str]:
    """Yield the URL of a service that knows the advisories of these names."""
    advisories = [json.loads((ADVISORIES / f"{name}.json").read_text()) for name in names]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"vulns": found} if (found := _matching(advisories, asked)) else {}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _matching(advisories: Sequence[dict[str, Any]], asked: dict[str, Any]) -> list[dict[str, Any]]:
    name, version = asked["package"]["name"].lower(), asked["version"]
    return [
        advisory
        for advisory in advisories
        for affected in advisory["affected"]
        if affected["package"]["name"] == name and version in affected["versions"]
    ]
