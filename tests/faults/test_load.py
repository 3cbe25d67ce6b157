"""A real endpoint under callers that mean no good: slow bodies, large bodies, and more than it can answer."""

from __future__ import annotations

import contextlib
import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.load import Load, ask_for
from tests.drills import FULL, DrillTable, count
from tests.endpoints import opened, read_all, start_endpoint
from tests.serving.conftest import Served
from tests.tiny_release import ROW, tiny_release

pytestmark = [pytest.mark.fault, pytest.mark.drill, pytest.mark.slow]

Start = Callable[..., tuple[Served, psutil.Process]]

CONTENT = {"instances": [ROW]}
BODY = json.dumps(CONTENT).encode()
KIB, MIB = 2**10, 2**20
PATIENT_S = "20"  # in the queue: a stall of this machine is no overload


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def started(**settings: str) -> tuple[Served, psutil.Process]:
            home = tmp_path_factory.mktemp("home")
            return start_endpoint(stack, home, tiny_release(home / "releases"), **settings)

        yield started


# Slow bodies

N_SLOW = count(few=40, promised=1000)
N_ROUNDS = count(few=3, promised=7)
ROUND_S = float(count(few=1, promised=3))
ROOM_S = float(count(few=2, promised=6))  # to open the slow ones in, before a round and within their deadline


def held_open(stack: contextlib.ExitStack, port: int) -> list[bytes]:
    """Return what slow callers were answered: opened before, read after the rest of ``stack``'s body."""
    answers: list[bytes] = []
    slow = [stack.enter_context(opened(port, f"Content-Length: {len(BODY)}", 60)) for _ in range(N_SLOW)]
    for connection in slow:
        connection.sendall(BODY[:10])
    stack.callback(lambda: answers.extend(read_all(connection)[9:12] for connection in slow))
    return answers


def p99_ms(loads: list[Load]) -> float:
    return float(np.percentile(np.concatenate([load.latencies_ms for load in loads]), 99))


def median_ms(load: Load) -> float:
    return statistics.median(load.latencies_ms)


def test_slow_bodies_held_open_do_not_slow_the_others_down(start: Start, drill_table: DrillTable) -> None:
    served, _ = start(
        HEDONIC_GUARD__BODY_DEADLINE_S=str(ROUND_S + ROOM_S), HEDONIC_GUARD__QUEUE_WAIT_S=PATIENT_S
    )

    def normal() -> Load:
        return ask_for(served.port, "/predict", CONTENT, n_connections=4, seconds=ROUND_S)

    normal()
    alone, beside = [], []
    for _ in range(N_ROUNDS):
        alone.append(normal())
        with contextlib.ExitStack() as stack:
            answers = held_open(stack, served.port)
            beside.append(normal())
        assert answers == [b"408"] * N_SLOW
    assert {status for load in (*alone, *beside) for status in load.statuses} == {200}
    ratios = [p99_ms([b]) / p99_ms([a]) for a, b in zip(alone, beside, strict=True)]
    ratio = p99_ms(beside) / p99_ms(alone)
    drill_table.add(
        "slow bodies held open beside normal requests", N_SLOW,
        f"p99 alone {p99_ms(alone):.2f} ms, beside {p99_ms(beside):.2f} ms: {ratio:.2f} times "
        f"(by rounds {min(ratios):.2f} to {max(ratios):.2f}, {sum(len(b.latencies_ms) for b in beside):,} "
        "requests); every slow one got 408",
    )  # fmt: skip
    # Slow bodies that slow the others down do so in every round; whatever else runs here, in some.
    assert any(median_ms(b) < 2 * median_ms(a) + 2 for a, b in zip(alone, beside, strict=True))
    if FULL:
        assert statistics.median(ratios) < 2


# Overload

CONCURRENCY, QUEUE = count(few=4, promised=8), count(few=28, promised=256)
SATURATING = CONCURRENCY + QUEUE
OVERLOAD_S = float(count(few=2, promised=6))


def test_at_five_times_the_load_there_are_200_and_503_and_nearly_as_many_200(
    start: Start, drill_table: DrillTable
) -> None:
    served, worker = start(
        HEDONIC_GUARD__CONCURRENCY=str(CONCURRENCY),
        HEDONIC_GUARD__QUEUE=str(QUEUE),
        HEDONIC_GUARD__QUEUE_WAIT_S=PATIENT_S,
    )

    def load(n_connections: int) -> Load:
        return ask_for(
            served.port, "/predict", CONTENT, n_connections=n_connections, seconds=OVERLOAD_S,
            meter=lambda: sum(worker.cpu_times()[:2]),
        )  # fmt: skip

    load(SATURATING)
    at_peak, over = [], []
    for _ in range(count(few=2, promised=5)):
        at_peak.append(max((load(8), load(SATURATING)), key=lambda one: one.goodput))
        over.append(load(5 * SATURATING))
    assert {status for one in at_peak for status in one.statuses} == {200}
    assert {status for one in over for status in one.statuses} == {200, 503}
    assert sum(one.n_bare for one in over) == 0
    goodput = [b.goodput / a.goodput for a, b in zip(at_peak, over, strict=True)]
    peak = max(one.goodput for one in at_peak)
    seconds, n_refused = OVERLOAD_S * len(over), sum(one.statuses[503] for one in over)
    drill_table.add(
        f"overload: {5 * SATURATING:,} clients where {SATURATING} saturate",
        sum(len(one.latencies_ms) for one in over),
        f"goodput {statistics.median(goodput):.0%} of the peak of {peak:,.0f}/s (rounds {min(goodput):.0%} "
        f"to {max(goodput):.0%}); {n_refused:,} answers 503, each with Retry-After; of a core took the "
        f"clients {sum(one.cpu_s for one in over) / seconds:.0%}, the server "
        f"{sum(one.metered for one in over) / seconds:.0%}",
    )  # fmt: skip
    assert served.predict(ROW).status == 200
    # A busy machine takes time from the server, and refusals keep their pace: 80 % is for `make drills`.
    assert statistics.median(goodput) >= (0.8 if FULL else 0.3)


# Large bodies

LIMIT = 32 * KIB
ROOM_MIB = 50
SIZES = (64 * KIB, MIB + 1, 16 * MIB, 256 * MIB, 1024 * MIB) if FULL else (64 * KIB, 2 * MIB, 64 * MIB)
N_AT_ONCE = 8


@pytest.fixture(scope="module")
def small(start: Start) -> tuple[Served, psutil.Process]:
    """Return an endpoint that takes 32 KiB at most."""
    served, worker = start(HEDONIC_GUARD__MAX_BODY_BYTES=str(LIMIT), HEDONIC_GUARD__BODY_DEADLINE_S="55")
    for _ in range(20):
        assert served.predict(ROW).status == 200
    return served, worker


def peak_growth_mib(worker: psutil.Process, work: Callable[[], None]) -> float:
    """Return by how much the worker's resident memory was larger at its peak than before."""
    Path(f"/proc/{worker.pid}/clear_refs").write_text("5")  # Linux begins its peak anew
    before = worker.memory_info().rss
    work()
    status = Path(f"/proc/{worker.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return (int(found[1]) * KIB - before) / MIB


def sent(port: int, size: int, how: str) -> bytes:
    """Return the answer to a body of so many bytes, all of which are sent if the server takes them."""
    heads = {
        "declared": f"Content-Length: {size}",
        "in chunks": "Transfer-Encoding: chunked",
        "declared and expected": f"Content-Length: {size}\r\nExpect: 100-continue",
        "in chunks and expected": "Transfer-Encoding: chunked\r\nExpect: 100-continue",
    }
    parts = [min(64 * KIB, size - start) for start in range(0, size, 64 * KIB)]
    with opened(port, heads[how], 60) as connection:
        with contextlib.suppress(ConnectionError):  # it stops reading
            for length in parts:
                part = b"x" * length
                connection.sendall(b"%x\r\n%s\r\n" % (length, part) if "chunks" in how else part)
            if "chunks" in how:
                connection.sendall(b"0\r\n\r\n")
        return read_all(connection)


@pytest.mark.parametrize("how", ["declared", "in chunks", "declared and expected", "in chunks and expected"])
def test_bodies_that_are_too_large_are_413_and_are_not_kept(
    small: tuple[Served, psutil.Process], how: str, drill_table: DrillTable
) -> None:
    served, worker = small
    grown = {}
    for size in SIZES:

        def ask(size: int = size) -> None:
            got = sent(served.port, size, how).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 413 "), (size, got[:300])
            head, _, body = got.partition(b"\r\n\r\n")
            assert b"connection: close" in head.lower()
            assert json.loads(body)["error"]["code"] == "payload_too_large"

        grown[size] = peak_growth_mib(worker, ask)
    assert max(grown.values()) < ROOM_MIB
    assert served.predict(ROW).status == 200
    told = ", ".join(f"{size / MIB:g} MiB: {mib:.1f}" for size, mib in grown.items())
    drill_table.add(f"bodies too large, {how}", len(SIZES), f"413; memory at its peak up by MiB, {told}")


def test_many_large_bodies_at_once_are_413_and_are_not_kept(
    small: tuple[Served, psutil.Process], drill_table: DrillTable
) -> None:
    served, worker = small

    def ask() -> None:
        with ThreadPoolExecutor(N_AT_ONCE) as pool:
            ways = ["declared", "in chunks"] * (N_AT_ONCE // 2)
            answers = list(pool.map(lambda how: sent(served.port, SIZES[2], how), ways))
        assert {answer[9:12] for answer in answers} == {b"413"}

    grown = peak_growth_mib(worker, ask)
    assert grown < ROOM_MIB
    drill_table.add("bodies too large, at once", N_AT_ONCE, f"413; memory at its peak up by {grown:.1f} MiB")


def test_a_caller_that_waits_for_leave_is_told_413_without_sending_a_byte(
    small: tuple[Served, psutil.Process],
) -> None:
    served, _ = small
    for size in SIZES:
        began = time.monotonic()
        with opened(served.port, f"Expect: 100-continue\r\nContent-Length: {size}") as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
        assert time.monotonic() - began < 30  # of the 55 s that it may take over its body


def test_a_body_of_a_length_that_is_a_lie_is_not_kept(small: tuple[Served, psutil.Process]) -> None:
    served, worker = small

    def ask() -> None:
        for length in ("9" * 400, "-1", "1e3", "0x10", "+5", "5, 5"):
            with opened(served.port, f"Content-Length: {length}") as connection:
                connection.sendall(b"x" * KIB)
                assert read_all(connection)[9:12] in (b"400", b"413")

    assert peak_growth_mib(worker, ask) < ROOM_MIB
    assert served.predict(ROW).status == 200
