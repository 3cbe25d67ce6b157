"""The envelope of every exchange: a request id on each answer, and one shape for every error."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from hedonic.serving.responses import JSON_TYPE, internal_error, status_error

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

SCOPE_KEY = "hedonic.exchange"

_logger = logging.getLogger("hedonic.serving")


@dataclass(slots=True)
class Exchange:
    """One request and its answer: the id, and whether a handler of ours shaped the answer."""

    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    answered: bool = False


class Envelope:
    """ASGI middleware: what the framework answers with an error status gets our body."""

    def __init__(self, app: App) -> None:
        """Wrap ``app``."""
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = scope[SCOPE_KEY] = Exchange()
        header = (b"x-request-id", exchange.request_id.encode())
        started = replaced = False

        async def shaped(message: Message) -> None:
            nonlocal started, replaced
            if message["type"] == "http.response.start":
                started = True
                status = message["status"]
                if status >= 400 and not exchange.answered:
                    replaced = True
                    kept = [
                        pair for pair in message["headers"] if pair[0].lower() in (b"allow", b"retry-after")
                    ]
                    await _send_error(
                        send, status, status_error(status, exchange.request_id), [*kept, header]
                    )
                    return
                message["headers"] = [*message["headers"], header]
            if not replaced:
                await send(message)

        try:
            await self._app(scope, receive, shaped)
        except Exception:  # the edge of the process
            _logger.exception("request %s failed", exchange.request_id)
            if started:
                raise
            await _send_error(send, 500, internal_error(exchange.request_id), [header])


async def _send_error(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    length, kind = (b"content-length", str(len(body)).encode()), (b"content-type", JSON_TYPE.encode())
    await send({"type": "http.response.start", "status": status, "headers": [kind, length, *headers]})
    await send({"type": "http.response.body", "body": body})
