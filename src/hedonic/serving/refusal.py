"""A refusal: the answer to a request that goes no further than the guard."""

from __future__ import annotations

from hedonic.serving.asgi import Header

CLOSE: Header = (b"connection", b"close")


class Refusal(Exception):
    """Answers a request before any work is done for it.

    Attributes:
        status: of the answer.
        code: one word for machines.
        headers: beside those of every answer.
        close: whether the connection ends with it.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: tuple[Header, ...] = (), *, close: bool = False
    ) -> None:
        """Keep what is answered; ``close`` ends the connection, for the rest of the body is not read."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = (*headers, CLOSE) if close else headers
        self.close = close


class CallerGone(Exception):
    """The caller hung up before the request was whole: there is nobody to answer."""


def retry_after(seconds: float) -> Header:
    """Return the header that says when to come back, in whole seconds and at least one."""
    return b"retry-after", str(max(1, -int(-seconds // 1))).encode()
