"""Callers who never stop: each on a connection of its own, every answer kept."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.waiting import wait_for


@dataclass(frozen=True, slots=True)
class Told:
    """What a caller was told: row by its place, and the time by the clock of ``time.monotonic``."""

    row: int
    release: str
    estimate: float
    request_id: str
    asked_at: float
    at: float

    @property
    def took_s(self) -> float:
        """Return how long the answer took."""
        return self.at - self.asked_at


@dataclass
class Callers:
    """What the callers were told, and what went wrong."""

    told: list[Told] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def slowest_s(self) -> float:
        """Return how long the slowest answer took."""
        return max(one.took_s for one in self.told)

    def first_at(self, release: str) -> float:
        """Return when the release answered first."""
        return min(one.at for one in self.told if one.release == release)

    def others(self, release: str, since: float) -> list[Told]:
        """Return the answers of other releases to what was asked after a time.

        What was asked before may be answered after it: the order in which callers beside one another were
        told says nothing.
        """
        return [one for one in self.told if one.asked_at > since and one.release != release]

    def wait_for(self, n_more: int, limit_s: float = 300.0) -> None:
        """Wait until so many more answers were given.

        Raises:
            AssertionError: they were not.
        """
        wanted = len(self.told) + n_more
        wait_for(
            lambda: len(self.told) >= wanted,
            lambda: f"no more answers; {len(self.failed)} failed: {self.failed[-3:]}",
            limit_s,
            pause_s=0.01,
        )


@contextmanager
def callers(
    port: int,
    rows: Sequence[dict[str, Any]],
    number: int,
    pause_s: float = 0.0,
    path: str = "/predict",
    headers: Mapping[str, str] | None = None,
    keep_alive: bool = True,
) -> Iterator[Callers]:
    """Return callers who ask for one row after the other until the end of the block.

    Args:
        port: of the endpoint on loopback.
        rows: asked for in turn.
        number: of callers.
        pause_s: between two requests of a caller.
        path: that answers, behind a proxy another one.
        headers: of each request.
        keep_alive: whether a caller stays on his connection, or takes a new one for each request.
    """
    found, over = Callers(), threading.Event()
    sent = {"Content-Type": "application/json", **(headers or {})}
    bodies = [json.dumps({"instances": [row]}).encode() for row in rows]

    def call(first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        at = first
        while not over.is_set():
            at = (at + 1) % len(bodies)
            asked_at = time.monotonic()
            try:
                connection.request("POST", path, bodies[at], sent)
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != 200:
                    found.failed.append(f"{answer.status}: {content[:200]!r}")
                    continue
                answered_at, said = time.monotonic(), json.loads(content)
                found.told.append(
                    Told(
                        row=at,
                        release=said["model"]["release"],
                        estimate=said["predictions"][0]["estimate"],
                        request_id=said["request_id"],
                        asked_at=asked_at,
                        at=answered_at,
                    )
                )
            except (OSError, http.client.HTTPException, ValueError) as err:
                found.failed.append(f"{type(err).__name__}: {err}")
                connection.close()
                over.wait(0.02)
            finally:
                if not keep_alive:
                    connection.close()
            if pause_s:
                over.wait(pause_s)
        connection.close()

    threads = [threading.Thread(target=call, args=(n * 7,), daemon=True) for n in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
