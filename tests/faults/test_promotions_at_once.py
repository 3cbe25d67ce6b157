"""Processes that promote at once, somebody looking all the while: one champion, and never a worse one."""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from hedonic.promotion.history import History, Record
from hedonic.promotion.pointer import read_pointer
from tests.contender import LOSS, Challenge, contend
from tests.drills import DrillTable, count

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.drill]

DATASET = "small_county"
MOST = 8


class Contender:
    """A process that is told what to promote, and tells what came of it."""

    def __init__(self, context: ForkServerContext) -> None:
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=contend, args=(theirs,), daemon=True)
        self._process.start()

    def told(self) -> str:
        assert self._ours.poll(300), "a contender does not answer"
        return str(self._ours.recv())

    def tell(self, asked: Challenge) -> None:
        self._ours.send(asked)

    def end(self) -> None:
        self._process.kill()
        self._process.join()


class Reader(threading.Thread):
    """Looks at the champion and at the pointer, again and again; keeps what it should never have seen."""

    def __init__(self, url: str, home: Path) -> None:
        super().__init__(daemon=True)
        self._url, self._home, self._over = url, home, threading.Event()
        self.n_looks, self.wrong = 0, list[str]()

    def run(self) -> None:
        best: dict[str, float] = {}
        known: dict[str | None, Record] = {}
        with closing(History(self._url)) as history:
            while not self._over.is_set():
                pointer = read_pointer(self._home, DATASET)
                if pointer and pointer.release not in known:  # the pointer follows the history
                    known = {record.release: record for record in history.records(DATASET) if record.crowns}
                champion = history.champion(DATASET)
                seen = {"champion": champion, "pointer": known.get(pointer.release) if pointer else None}
                if pointer is not None and seen["pointer"] is None:
                    self.wrong.append(f"the pointer names {pointer.release}, which was never champion")
                for what, record in seen.items():
                    loss = _loss(record)
                    if loss is None and what in best:
                        self.wrong.append(f"no {what} any more")
                    elif loss is not None and loss > best.get(what, loss):
                        self.wrong.append(f"the {what} went from {best[what]} to {loss}")
                    if loss is not None:
                        best[what] = loss
                self.n_looks += 1

    def end(self) -> None:
        self._over.set()
        self.join(60)


def _loss(record: Record | None) -> float | None:
    return record.figures[LOSS] if record else None


@pytest.fixture(scope="module")
def contenders() -> Iterator[list[Contender]]:
    """Processes that are ready: starting one costs seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.contender"])
    started = [Contender(context) for _ in range(MOST)]
    try:
        assert [contender.told() for contender in started] == ["ready"] * MOST
        yield started
    finally:
        for contender in started:
            contender.end()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        postgres: str = request.getfixturevalue("postgres_url")
        return postgres.replace("postgresql://", "postgresql+psycopg://")
    return f"sqlite:///{tmp_path / 'history.db'}"


def test_of_processes_that_promote_at_once_one_wins_and_the_champion_is_never_worse(
    url: str, tmp_path: Path, contenders: list[Contender], drill_table: DrillTable
) -> None:
    drawn, outcomes, rounds = random.Random(0), Counter[str](), count(few=14, promised=500)
    reader = Reader(url, tmp_path)
    reader.start()
    held, digests = None, (f"{n:064x}" for n in range(1, 10**6))
    for number in range(rounds):
        group = contenders[: 2 + number % (MOST - 1)]
        # Some are better than the champion of now, some worse.
        losses = [round((held or 1.0) * drawn.uniform(0.97, 1.02), 9) for _ in group]
        for who, (contender, loss) in enumerate(zip(group, losses, strict=True)):
            run = f"run-{number}-{who}"
            contender.tell(Challenge(url, str(tmp_path), DATASET, str(who), run, next(digests), loss))
        told = [contender.told() for contender in group]
        outcomes.update(told)
        assert set(told) <= {"promoted", "kept", "stale"}, told
        with closing(History(url)) as history:
            champion = history.champion(DATASET)
        assert champion is not None
        if held is None or min(losses) < held:
            assert "promoted" in told
        held = champion.figures[LOSS]
        pointer = read_pointer(tmp_path, DATASET)
        assert pointer is not None
        assert pointer.release == champion.release
    reader.end()
    assert reader.wrong == []
    assert reader.n_looks > rounds // 10
    with closing(History(url)) as history:
        assert history.verify_chain() == ()
        crowned = [record for record in history.records(DATASET) if record.crowns]
        assert list(history.standings(DATASET).values()).count("champion") == 1
        assert len(history.records(DATASET)) == outcomes["promoted"] + outcomes["kept"]
    assert len(crowned) == outcomes["promoted"]
    figures = [record.figures[LOSS] or 0.0 for record in crowned]
    assert figures == sorted(figures, reverse=True)
    assert [record.incumbent for record in crowned] == [None, *[record.release for record in crowned[:-1]]]
    drill_table.add(
        f"2 to 8 processes promote at once ({url.partition(':')[0].partition('+')[0]})", rounds,
        f"{outcomes['promoted']} promoted, {outcomes['kept']} kept, {outcomes['stale']} refused as stale; "
        f"{reader.n_looks:,} looks meanwhile: always one champion, never a worse one",
    )  # fmt: skip
