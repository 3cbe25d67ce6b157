"""A closed-loop HTTP load on loopback: connections that each ask again as soon as they are answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Load:
    """What one round measured.

    Attributes:
        n_connections: that asked at the same time.
        latencies_ms: of every answer, in the order in which they came.
        seconds: from the first question to the last answer.
        n_errors: answers whose status was not 200.
        statuses: how many answers had which.
        n_bare: answers 503 without ``Retry-After``.
        goodput: answers 200 a second while all asked; who is told to wait may come back after it.
        cpu_s: processor time that asking took here.
        metered: by how much the meter's reading grew while all asked.
    """

    n_connections: int
    latencies_ms: list[float]
    seconds: float
    n_errors: int
    statuses: Counter[int] = field(default_factory=Counter)
    n_bare: int = 0
    goodput: float = 0.0
    cpu_s: float = 0.0
    metered: float = 0.0

    @property
    def rps(self) -> float:
        """Return good answers a second."""
        return (len(self.latencies_ms) - self.n_errors) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latencies in milliseconds."""
        return float(np.percentile(self.latencies_ms, percent))


@dataclass(slots=True)
class _Round:
    request: bytes
    until: float
    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    n_bare: int = 0
    n_in_time: int = 0


class _Connection(asyncio.Protocol):
    """Asks until the round is over; ``done`` is set when its last answer has come."""

    def __init__(self, current: _Round) -> None:
        self.round = current
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting = b""
        self.asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def ask(self) -> None:
        self.asked = time.perf_counter()
        self.transport.write(self.round.request)

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        head, found, body = self.waiting.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        if len(body) < length:
            return
        now = time.perf_counter()
        self.waiting = body[length:]
        self.round.latencies_ms.append((now - self.asked) * 1000)
        status = int(head[9:12])
        self.round.statuses[status] += 1
        self.round.n_in_time += status == 200 and now <= self.round.until
        self.round.n_bare += status == 503 and b"\r\nretry-after:" not in head.lower()
        if now < self.round.until:
            self.ask()
        else:
            self.transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))


def ask_for(
    port: int,
    path: str,
    content: Any,
    *,
    n_connections: int,
    seconds: float,
    meter: Callable[[], float] | None = None,
) -> Load:
    """Return what ``n_connections`` to 127.0.0.1 measured in ``seconds``, each asking the same.

    All are connected before the first asks. What ``meter`` reads, such as a server's processor time, is
    told as it grew while all asked.
    """
    return asyncio.run(_ask_for(port, path, content, n_connections, seconds, meter or (lambda: 0.0)))


async def _ask_for(
    port: int, path: str, content: Any, n_connections: int, seconds: float, meter: Callable[[], float]
) -> Load:
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    current, loop = _Round(request, until=0.0), asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: _Connection(current), "127.0.0.1", port)
        for _ in range(n_connections)
    ]
    began, cpu_s, metered = time.perf_counter(), time.process_time(), [meter()]
    current.until = began + seconds
    loop.call_later(seconds, lambda: metered.append(meter()))
    for _, connection in made:
        connection.ask()
    await asyncio.wait_for(asyncio.gather(*(connection.done for _, connection in made)), seconds + 60)
    return Load(
        n_connections,
        current.latencies_ms,
        time.perf_counter() - began,
        sum(current.statuses.values()) - current.statuses[200],
        current.statuses,
        current.n_bare,
        current.n_in_time / seconds,
        time.process_time() - cpu_s,
        metered[-1] - metered[0],
    )
