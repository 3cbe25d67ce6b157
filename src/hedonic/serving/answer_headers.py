"""Headers of every answer: what a browser may do with it, and which pages may ask."""

from __future__ import annotations

from collections.abc import Sequence

from hedonic.serving.asgi import Header

_DATA = b"default-src 'none'; frame-ancestors 'none'"
_PAGE = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; frame-ancestors 'none'"
)
_ALWAYS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_DATA_HEADERS: tuple[Header, ...] = (*_ALWAYS, (b"content-security-policy", _DATA))
_PAGE_HEADERS: tuple[Header, ...] = (*_ALWAYS, (b"content-security-policy", _PAGE))
_HIDDEN = (b"server",)


def secured(headers: Sequence[Header]) -> list[Header]:
    """Return an answer's headers with ours added, and without the server's name.

    Data may load nothing and be framed nowhere; BentoML's own page (Swagger) may load what we serve.
    """
    page = any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers)
    return [pair for pair in headers if pair[0] not in _HIDDEN] + list(
        _PAGE_HEADERS if page else _DATA_HEADERS
    )


class Cors:
    """The origins whose pages may ask; others get no answer that their browser would show them."""

    def __init__(self, origins: Sequence[str]) -> None:
        """Take the allow-list; empty: none, ``*``: all."""
        self._all = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def __bool__(self) -> bool:
        """Return whether any origin is allowed."""
        return bool(self._origins)

    def allows(self, origin: bytes | None) -> bool:
        """Return whether pages of this origin may ask."""
        return origin is not None and (self._all or origin in self._origins)

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """Return what an answer to this origin says beside its own headers."""
        if not self._origins:
            return ()
        vary = (b"vary", b"origin")
        if origin is None or not self.allows(origin):
            return (vary,)
        exposed = (b"access-control-expose-headers", b"x-request-id, retry-after")
        return vary, (b"access-control-allow-origin", origin), exposed

    def preflight(self) -> tuple[Header, ...]:
        """Return what is said in answer to the question whether a page may ask."""
        return (
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", b"authorization, content-type, x-request-key"),
            (b"access-control-max-age", b"600"),
        )
