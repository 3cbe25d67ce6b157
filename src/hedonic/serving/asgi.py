"""ASGI as we speak it: the types, one exchange, and an answer sent whole."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from hedonic.serving.responses import JSON_TYPE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

SCOPE_KEY = "hedonic.exchange"
JSON_HEADER: Header = (b"content-type", JSON_TYPE.encode())


def new_request_id() -> str:
    """Return 32 hexadecimal digits: the time in milliseconds, as in a UUID of version 7, then 80 random bits.

    Ids that grow with time are written at the end of the prediction log's index: with five million answers
    in it, six times as many a second and a fifth of the CPU of wholly random ones.
    """
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


@dataclass(slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        method: of the request.
        path: of the request.
        client: the caller's address.
        request_id: told to the caller, in the answer's header and in every line of the log.
        answered: whether a handler of ours shaped the answer, so that the envelope leaves it alone.
        headers: the request's, by lower-case name.
        body: the request's, once the guard has read it.
        started: seconds on the clock of ``time.perf_counter``.
        release: the digest of the release that answered, where one did.
        status: of the answer; 0 while there is none.
        n_sent: bytes of the answer's body.
        outcome: one word for the metrics, where the status alone does not say it.
    """

    method: str = ""
    path: str = ""
    client: str = ""
    request_id: str = field(default_factory=new_request_id)
    answered: bool = False
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes | None = None
    started: float = field(default_factory=time.perf_counter)
    release: str = ""
    status: int = 0
    n_sent: int = 0
    outcome: str = ""


async def send_json(send: Send, status: int, body: bytes, headers: tuple[Header, ...] = ()) -> None:
    """Send a whole answer."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [JSON_HEADER, length, *headers]})
    await send({"type": "http.response.body", "body": body})


def media_type(headers: dict[bytes, bytes]) -> str:
    """Return the request's content type without its parameters, in lower case; empty where none is given."""
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
