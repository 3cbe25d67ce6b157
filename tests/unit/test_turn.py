"""One process of a HEDONIC_HOME trains a data set at a time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hedonic.turn import Turn

TAKER = """
import logging, sys
from pathlib import Path
from hedonic.turn import Turn

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
turn = Turn(Path(sys.argv[1]), sys.argv[2])
turn.take()
print("mine", flush=True)
sys.stdin.readline()
turn.end()
print("ended", flush=True)
sys.stdin.readline()
"""


@contextmanager
def taker(home: Path, dataset: str = "cars") -> Iterator[subprocess.Popen[str]]:
    """Keep a process running that takes the turn and ends it when it is sent a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(home), dataset],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def send(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_the_second_waits_until_the_first_ends_its_turn(tmp_path: Path) -> None:
    with taker(tmp_path) as first:
        assert line(first) == "mine"
        with taker(tmp_path) as second:
            assert line(second) == f"cars is in training by process {first.pid}; waiting for its end"
            send(first)
            assert line(first) == "ended"
            assert line(second) == "mine"


def test_a_killed_process_has_its_turn_no_more(tmp_path: Path) -> None:
    with taker(tmp_path) as first:
        assert line(first) == "mine"
        with taker(tmp_path) as second:
            assert line(second) == f"cars is in training by process {first.pid}; waiting for its end"
            first.kill()
            assert line(second) == "mine"


def test_another_data_set_does_not_wait(tmp_path: Path) -> None:
    with taker(tmp_path) as first, taker(tmp_path, "houses") as second:
        assert line(first) == line(second) == "mine"


def test_a_process_that_has_the_turn_takes_it_again(tmp_path: Path) -> None:
    turn = Turn(tmp_path, "cars")
    turn.take()
    Turn(tmp_path, "cars").take()
    turn.end()
    with taker(tmp_path) as other:
        assert line(other) == "mine"
