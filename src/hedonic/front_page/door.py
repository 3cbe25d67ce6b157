"""The door: who may look, and what a page of ours may load."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hedonic.front_page.page import source_hash
from hedonic.serving.guard_settings import TOKEN, read_guard_settings, refuse_open_door
from hedonic.settings import Settings

OPEN_PATHS = frozenset({"/healthz"})
_PAGE = "default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; img-src 'self'"
_DOCUMENT = "default-src 'none'; style-src 'self' 'unsafe-inline'; font-src 'self'; img-src 'self' data:"
_ALWAYS = "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def read_tokens(settings: Settings) -> tuple[SecretStr, ...]:
    """Return the tokens of HEDONIC_API_TOKEN, any of which opens the door; none: it stands open.

    Raises:
        UserError: it would stand open beyond loopback.
    """
    guard = read_guard_settings({TOKEN: settings.api_token} if settings.api_token else {})
    refuse_open_door(guard, [settings.host])
    return guard.tokens


class Door:
    """Lets in who brings a token, as a bearer or as the password of HTTP's basic scheme."""

    def __init__(self, app: ASGIApp, tokens: Iterable[SecretStr]) -> None:
        """Take the page, and the tokens that open it; none: everyone may look."""
        self._app = app
        self._tokens = tuple(token.get_secret_value().encode() for token in tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] != "http" or not self._tokens or scope["path"] in OPEN_PATHS or self._opens(scope):
            await self._app(scope, receive, send)
            return
        told = f"This page asks for {TOKEN}: as a bearer token, or as the password of any user.\n"
        refusal = PlainTextResponse(told, 401, {"WWW-Authenticate": 'Basic realm="Hedonic", charset="UTF-8"'})
        await refusal(scope, receive, send)

    def _opens(self, scope: Scope) -> bool:
        brought = _token(Headers(scope=scope).get("authorization", ""))
        # Every token is compared: how long it takes tells nothing.
        return sum(hmac.compare_digest(brought, token) for token in self._tokens) > 0


class Manners:
    """Headers of every answer: nothing from elsewhere is loaded, framed, sniffed or kept."""

    def __init__(self, app: ASGIApp) -> None:
        """Take the page; its own style and script are known by their digests."""
        self._app = app
        self._page = _PAGE.format(style=source_hash("style.css"), script=source_hash("refresh.js"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        policy = _DOCUMENT if scope["path"].startswith("/data-docs") else self._page

        async def polite(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = policy + _ALWAYS
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, polite)


def _token(header: str) -> bytes:
    scheme, _, given = header.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(given, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
