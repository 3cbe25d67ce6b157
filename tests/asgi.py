"""A caller without a socket: hand-made ASGI scopes, bodies in parts, and the answer as it was sent."""

import json
from dataclasses import dataclass

from hedonic.serving.asgi import SCOPE_KEY, Exchange


@dataclass
class Answered:
    status: int
    headers: dict
    body: bytes
    messages: list

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        assert set(self.json) == {"error", "request_id"}
        assert set(self.json["error"]) == {"code", "message", "problems"}
        return self.json["error"]["code"]


def scope_of(method="POST", path="/predict", headers=(), query=b"", client="203.0.113.7", exchange=None):
    given = [(name.lower().encode(), value.encode()) for name, value in dict(headers).items()]
    return {
        "type": "http", "method": method, "path": path, "query_string": query, "headers": given,
        "client": (client, 40000), "server": ("127.0.0.1", 3000),
        SCOPE_KEY: exchange or Exchange(method, path, client),
    }  # fmt: skip


@dataclass
class Caller:
    """What the server receives, in order: bytes, a function to be awaited between, or None for a hang-up."""

    parts: list
    n_taken: int = 0
    n_bytes: int = 0

    async def receive(self):
        while self.parts:
            part = self.parts.pop(0)
            if part is None:
                break
            if not isinstance(part, bytes):
                await part()
                continue
            self.n_taken += 1
            self.n_bytes += len(part)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        return {"type": "http.disconnect"}


async def ask(app, *parts, **scope):
    """Return what ``app`` answered; None when it answered nothing."""
    caller = scope.pop("caller", None) or Caller(list(parts) or [b""])
    given = scope.pop("scope", None) or scope_of(**scope)
    messages = []

    async def send(message):
        messages.append(dict(message))

    await app(given, caller.receive, send)
    return answered(messages)


def answered(messages):
    if not messages:
        return None
    assert [message["type"] for message in messages] == [
        "http.response.start", *["http.response.body"] * (len(messages) - 1),
    ]  # fmt: skip
    assert all(message.get("more_body", False) for message in messages[1:-1])
    assert not messages[-1].get("more_body", False)
    body = b"".join(message["body"] for message in messages[1:])
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    if "content-length" in headers:
        assert int(headers["content-length"]) == len(body)
    return Answered(messages[0]["status"], headers, body, messages)


async def echo(scope, receive, send):
    """Answer with the body that came."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})
