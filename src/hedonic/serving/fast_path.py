"""The short-cut: a prediction answered before the framework's own layers, by the same function."""

from __future__ import annotations

from collections.abc import Callable

from hedonic.serving.answering import Answering
from hedonic.serving.asgi import SCOPE_KEY, App, Exchange, Receive, Scope, Send, send_json
from hedonic.serving.predictor import Release

PREDICT_PATHS = frozenset({"/predict", "/api/predict", "/api/v1/predict"})


class FastPath:
    """ASGI middleware behind the guard: answers plain prediction requests, leaves all else to the app.

    What it answers is equal, byte for byte, to what the declared routes answer. Left to the app are: a
    query string, a body that the guard has not read, and every request while no release is served
    (before it is loaded, and once the service is shut down).
    """

    def __init__(
        self, app: App, release: Callable[[], Release | None], answering: Answering | None = None
    ) -> None:
        """Wrap ``app``; ``release`` gives the release that is served now, ``answering`` answers by it."""
        self._app = app
        self._release = release
        self._answering = answering or Answering()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http" or scope["path"] not in PREDICT_PATHS or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope[SCOPE_KEY]
        release = self._release()
        if exchange.body is None or release is None or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        kind = exchange.headers.get(b"content-type", b"").decode("latin-1")
        status, body = await self._answering.answer(release, exchange, kind, exchange.body)
        await send_json(send, status, body)
