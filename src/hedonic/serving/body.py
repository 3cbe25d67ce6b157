"""The body of a request: read whole, within a size, a time and a share of the memory."""

from __future__ import annotations

import asyncio

from hedonic.serving.asgi import Message, Receive
from hedonic.serving.refusal import CallerGone, Refusal, retry_after


class BodyReader:
    """Reads bodies; no slot is taken meanwhile, so slow callers wait for nobody but themselves."""

    def __init__(self, deadline_s: float, max_buffered_bytes: int, retry_after_s: int) -> None:
        """Take the limits that all bodies share; see ``GuardSettings``."""
        self._deadline_s = deadline_s
        self._max_buffered_bytes = max_buffered_bytes
        self._retry_after_s = retry_after_s
        self._buffered_bytes = 0

    @property
    def buffered_bytes(self) -> int:
        """Return what is held now of bodies that are still arriving."""
        return self._buffered_bytes

    async def read(self, receive: Receive, headers: dict[bytes, bytes], max_bytes: int) -> bytes:
        """Return the body.

        Raises:
            Refusal: 413 when it is larger than ``max_bytes`` (told by its length where it has one, else
                as soon as it is seen), 408 when it takes too long, 503 when others fill the memory.
            CallerGone: the connection ended first.
        """
        declared = headers.get(b"content-length")
        if declared is not None and (
            not declared.isdigit() or len(declared) > 18 or int(declared) > max_bytes
        ):
            raise _too_large(max_bytes)
        try:
            async with asyncio.timeout(self._deadline_s):
                message = await receive()
                if message["type"] == "http.request" and not message.get("more_body", False):
                    body: bytes = message.get("body", b"")
                    if len(body) > max_bytes:
                        raise _too_large(max_bytes)
                    return body
                return await self._read_on(message, receive, max_bytes)
        except TimeoutError:
            told = f"the body did not arrive within {self._deadline_s:g} s"
            raise Refusal(408, "request_timeout", told, close=True) from None

    async def _read_on(self, message: Message, receive: Receive, max_bytes: int) -> bytes:
        """Return the body of several messages, the first of which is here."""
        parts = bytearray()
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise CallerGone
                part = message.get("body", b"")
                if len(parts) + len(part) > max_bytes:
                    raise _too_large(max_bytes)
                if self._buffered_bytes + len(part) > self._max_buffered_bytes:
                    raise Refusal(
                        503, "overloaded", "too many bodies are arriving at once; try again in a moment",
                        (retry_after(self._retry_after_s),), close=True,
                    )  # fmt: skip
                parts += part
                self._buffered_bytes += len(part)
                if not message.get("more_body", False):
                    return bytes(parts)
                message = await receive()
        finally:
            self._buffered_bytes -= len(parts)


async def discard(receive: Receive, seconds: float, max_bytes: int) -> None:
    """Take and throw away what still comes, for a while, so that the caller gets to read the answer."""
    n_bytes = 0
    try:
        async with asyncio.timeout(seconds):
            while n_bytes < max_bytes:
                message = await receive()
                n_bytes += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


def _too_large(max_bytes: int) -> Refusal:
    message = f"the body is larger than {max_bytes} bytes; send fewer rows at a time"
    return Refusal(413, "payload_too_large", message, close=True)
