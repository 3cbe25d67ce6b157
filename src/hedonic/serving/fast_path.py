"""The short-cut: a prediction answered before the framework's own layers, by the same function."""

from __future__ import annotations

import time
from collections.abc import Callable

from hedonic.serving.answering import Answering
from hedonic.serving.asgi import SCOPE_KEY, App, Exchange, Receive, Scope, Send, send_json

PREDICT_PATHS = frozenset({"/predict", "/api/predict", "/api/v1/predict"})


class FastPath:
    """ASGI middleware behind the guard: answers plain prediction requests, leaves all else to the app.

    What it answers is equal, byte for byte, to what the declared routes answer. Left to the app are: a
    query string, a body that the guard has not read, and every request while no release is served
    (before it is loaded, and once the service is shut down).
    """

    def __init__(
        self,
        app: App,
        answering: Callable[[], Answering | None],
        answered: Callable[[Exchange, float], None] | None = None,
    ) -> None:
        """Wrap ``app``.

        Args:
            app: what answers the rest.
            answering: gives what answers, None while no release is served.
            answered: is told each exchange answered here, with the seconds it took: the app's own
                metrics do not see it.
        """
        self._app = app
        self._answering = answering
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http" or scope["path"] not in PREDICT_PATHS or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope[SCOPE_KEY]
        answering = self._answering()
        if exchange.body is None or answering is None or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        kind = exchange.headers.get(b"content-type", b"").decode("latin-1")
        status, body = await answering.answer(exchange, kind, exchange.body)
        await send_json(send, status, body)
        if self._answered is not None:
            self._answered(exchange, time.perf_counter() - exchange.started)
