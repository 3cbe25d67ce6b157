"""The guard: what is refused before any work is done for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hedonic.serving.answer_headers import Cors
from hedonic.serving.asgi import (
    SCOPE_KEY,
    App,
    Exchange,
    Message,
    Receive,
    Scope,
    Send,
    media_type,
    send_json,
)
from hedonic.serving.body import BodyReader, discard
from hedonic.serving.guard_settings import GuardSettings
from hedonic.serving.pace import Pace
from hedonic.serving.rate import RateLimiter
from hedonic.serving.refusal import CallerGone, Refusal, retry_after
from hedonic.serving.responses import JSON_TYPE, error_body
from hedonic.serving.slots import Slots
from hedonic.serving.tokens import Tokens

CSV_TYPE = "text/csv"
INVOCATIONS = "/invocations"
TABLE_PATHS = (INVOCATIONS, "/score", "/score/submit")
_PACED = frozenset({401, 429, 503})
_MAX_HELD_S = 10.0
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """What a path takes: media types, and bytes at most; tables wait for each other, not others for them."""

    media_types: tuple[str, ...]
    max_bytes: int
    table: bool = False


class Guard:
    """ASGI middleware: lets whole, small, timely requests of known callers through, so many at once.

    It asks in this order, and reads the body last: who calls (401), how often (429), what is sent (415),
    how much (413), how slowly (408), and how many wait (503).
    """

    def __init__(
        self, app: App, settings: GuardSettings, limits: Mapping[str, RouteLimits] | None = None
    ) -> None:
        """Wrap ``app``.

        Args:
            app: what answers requests that are let through.
            settings: see ``GuardSettings``.
            limits: by path, where they differ from JSON of ``max_body_bytes``; default: those of tables.
        """
        self._app = app
        self._settings = settings
        self._tokens = Tokens(token.get_secret_value() for token in settings.tokens)
        self._open = settings.open_paths
        self._cors = Cors(settings.cors_origins)
        self._usual = RouteLimits((JSON_TYPE,), settings.max_body_bytes)
        tables = RouteLimits((JSON_TYPE, CSV_TYPE), settings.max_table_bytes, table=True)
        self._limits = dict.fromkeys(TABLE_PATHS, tables) if limits is None else dict(limits)
        self._bodies = BodyReader(
            settings.body_deadline_s, settings.max_buffered_bytes, settings.retry_after_s
        )
        self._slots = Slots(
            settings.concurrency, settings.queue, settings.queue_wait_s, settings.retry_after_s
        )
        self._table_slots = Slots(
            settings.table_concurrency, settings.table_queue, settings.table_wait_s, settings.retry_after_s
        )
        self._pace = Pace(settings.refusals_per_s, _MAX_HELD_S)
        self._rate = (
            RateLimiter(settings.rate_per_s, settings.rate_burst, settings.rate_clients)
            if settings.rate_per_s is not None
            else None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":  # there is none, and it would pass the token by
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope[SCOPE_KEY]
        exchange.headers = dict(scope["headers"])
        try:
            if self._cors and scope["method"] == "OPTIONS" and _is_preflight(exchange.headers):
                await self._answer_preflight(exchange, send)
                return
            if scope["path"] not in self._open:
                self._admit(scope, exchange.headers)
            if scope["method"] not in _WITH_BODY:
                await self._app(scope, receive, send)
                return
            limits = self._limits.get(scope["path"], self._usual)
            _refuse_type(exchange.headers, limits.media_types)
            exchange.body = await self._bodies.read(receive, exchange.headers, limits.max_bytes)
            slots = self._table_slots if limits.table else self._slots
            await slots.enter()
        except Refusal as refusal:
            await self._refuse(refusal, exchange, receive, send)
            return
        except CallerGone:
            exchange.outcome = "caller_gone"
            return
        try:
            await self._app(scope, _Replay(exchange.body, receive), send)
        finally:
            slots.leave()

    def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Refuse who may not ask, or not so often.

        A caller without a good token is counted by address, so that guessing has a rate too.
        """
        refusal: Refusal | None = None
        caller: int | str = scope["client"][0] if scope.get("client") else ""
        if self._tokens:
            try:
                caller = self._tokens.client(headers)
            except Refusal as err:
                refusal = err
        if self._rate is not None and (seconds := self._rate.wait_s(caller)):
            message = f"more than {self._settings.rate_per_s:g} requests a second; try again later"
            raise Refusal(429, "rate_limited", message, (retry_after(seconds),))
        if refusal is not None:
            raise refusal

    async def _answer_preflight(self, exchange: Exchange, send: Send) -> None:
        if not self._cors.allows(exchange.headers.get(b"origin")):
            raise Refusal(403, "origin_not_allowed", "pages of this origin may not ask")
        exchange.answered = True
        await send({"type": "http.response.start", "status": 204, "headers": [*self._cors.preflight()]})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, refusal: Refusal, exchange: Exchange, receive: Receive, send: Send) -> None:
        exchange.answered, exchange.outcome = True, refusal.code
        if refusal.status in _PACED:
            exchange.body = None
            await self._pace.wait()
        body = error_body(refusal.code, str(refusal), exchange.request_id)
        if not refusal.close:
            await send_json(send, refusal.status, body, refusal.headers)
            return

        async def hold_open(message: Message) -> None:
            await send(message if "status" in message else {**message, "more_body": True})

        await send_json(hold_open, refusal.status, body, refusal.headers)
        await discard(receive, self._settings.linger_s, self._settings.linger_bytes)
        await send({"type": "http.response.body", "body": b""})


class _Replay:
    """Gives the body that was read to the application, then what comes after it."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _is_preflight(headers: dict[bytes, bytes]) -> bool:
    return b"origin" in headers and b"access-control-request-method" in headers


def _refuse_type(headers: dict[bytes, bytes], allowed: tuple[str, ...]) -> None:
    """Refuse what is not of the types that a path takes, before it is read.

    A request without a type is taken as the first of them, but not from a page: a page can send one
    without asking first (CORS), and then its origin would not matter.
    """
    kind = media_type(headers)
    known = kind in allowed or (not kind and b"origin" not in headers)
    if known and headers.get(b"content-encoding", b"identity").lower() == b"identity":
        return
    told = " or ".join(allowed)
    message = f"send the body as {told}, not compressed (-H 'Content-Type: {allowed[0]}')"
    raise Refusal(415, "unsupported_media_type", message)
