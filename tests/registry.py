"""A model registry that answers what MLflow's does about aliases, for tests of who asks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Aliases = Mapping[tuple[str, str], tuple[str, str]]


@contextmanager
def registry_server(aliases: Aliases, asked: list[dict[str, str]] | None = None) -> Iterator[str]:
    """Return the address of a registry.

    Args:
        aliases: version and release by model and alias; looked up at each request.
        asked: takes the headers of each request.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append({name.lower(): value for name, value in self.headers.items()})
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            found = aliases.get((query["name"][0], query["alias"][0]))
            content: dict[str, Any] = {
                "error_code": "INVALID_PARAMETER_VALUE",
                "message": "Registered model alias not found.",
            }
            if found is not None:
                number, release = found
                tags = [{"key": "hedonic.release", "value": release}] if release else []
                content = {"model_version": {"name": query["name"][0], "version": number, "tags": tags}}
            body = json.dumps(content).encode()
            self.send_response(200 if found else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
