"""The envelope of every exchange: a request id, one shape for every error, headers, and a count."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from hedonic.serving.answer_headers import Cors, secured
from hedonic.serving.asgi import SCOPE_KEY, App, Exchange, Header, Message, Receive, Scope, Send, send_json
from hedonic.serving.request_log import REQUEST_ID
from hedonic.serving.responses import internal_error, status_error

__all__ = ["SCOPE_KEY", "Envelope", "Exchange"]

_KEPT = (b"allow", b"retry-after")
_AGAIN: Header = (b"retry-after", b"1")
"""Of a 503 that does not say when to come back."""

_logger = logging.getLogger("hedonic.serving")


class Envelope:
    """ASGI middleware: every answer leaves with our headers; a framework's error gets our body."""

    def __init__(
        self, app: App, cors: Cors | None = None, finished: Callable[[Exchange, float], None] | None = None
    ) -> None:
        """Wrap ``app``.

        Args:
            app: what answers.
            cors: whose pages may ask; default: none.
            finished: is told every exchange at its end, with the seconds it took.
        """
        self._app = app
        self._cors = cors or Cors(())
        self._finished = finished

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = scope["client"][0] if scope.get("client") else ""
        exchange = scope[SCOPE_KEY] = Exchange(scope["method"], scope["path"], caller)
        REQUEST_ID.set(exchange.request_id)
        added: list[Header] = [(b"x-request-id", exchange.request_id.encode())]
        if self._cors:
            added += self._cors.headers(dict(scope["headers"]).get(b"origin"))
        replaced = False

        async def shaped(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                status = exchange.status = message["status"]
                if status == 503 and not any(pair[0].lower() == _AGAIN[0] for pair in message["headers"]):
                    message["headers"] = [*message["headers"], _AGAIN]
                if status >= 400 and not exchange.answered:
                    replaced = True
                    kept = [pair for pair in message["headers"] if pair[0].lower() in _KEPT]
                    await _send_error(send, exchange, status_error(status, exchange.request_id), kept + added)
                    return
                message["headers"] = secured(message["headers"]) + added
            elif not replaced:
                exchange.n_sent += len(message.get("body", b""))
            if not replaced:
                await send(message)

        try:
            await self._app(scope, receive, shaped)
        except Exception:  # the edge of the process
            _logger.exception("request %s failed", exchange.request_id)
            if exchange.status:
                raise
            exchange.status = 500
            await _send_error(send, exchange, internal_error(exchange.request_id), added)
        finally:
            if self._finished is not None:
                self._finished(exchange, time.perf_counter() - exchange.started)


async def _send_error(send: Send, exchange: Exchange, body: bytes, headers: list[Header]) -> None:
    exchange.n_sent = len(body)
    await send_json(send, exchange.status, body, tuple(secured(headers)))
