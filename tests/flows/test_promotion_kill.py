"""kill -9 in the last steps of a training: one champion, never a worse one, and the next run succeeds."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from hedonic.answer import endpoint_info
from hedonic.data.contract_file import load_contract
from hedonic.promotion.history import History
from hedonic.promotion.pointer import pointer_path, read_pointer
from hedonic.serving.predictor import load_release
from hedonic.settings import Settings
from hedonic.supervisor import stop_all
from tests.drills import FULL, DrillTable, count
from tests.killed import Forker, wipe_since
from tests.ports import free_port
from tests.project import make_project, write_contract
from tests.waiting import wait_for

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.drill]

DATASET = "small_county"
STEPS = (
    "decide", "release", "register", "build-bento", "record-verdict", "roll-out", "verify", "conclude",
)  # fmt: skip
POINTS = ("before", "during", "after")
# In which write of a step, in each of its repetitions; a step of fewer writes is killed at its end.
NTH = (1, 2, 3, 4, 5, 7, 10, 15, 25, 50)
QUICK = {"dataset": DATASET, "families": ["ridge"], "trials": 1}
BETTER = {**QUICK, "reason": "better"}
# What the worse model knows of a house: nothing of where it is.
BLIND = {
    "columns": ["bedrooms", "bathrooms", "sqft_living", "grade", "yr_built"],
    "ages": [], "logs": [], "ratios": [], "place": None, "comparables": None,
}  # fmt: skip
LAX = {"limits": [{"metric": "mdape_pct", "maximum": 60}]}
WHOLE = ("mlflow", "results", "steps", "alerts")
FOLDERS = ("releases/*/*", "releases/*/.*", "candidates/*/.*", "bentoml/bentos/*/*")


@dataclass(frozen=True, slots=True)
class Town:
    """A project whose champion is the worse model, with all of the better one's steps done but the last."""

    settings: Settings
    saved: Path
    forker: Forker
    worse: str

    def reset(self) -> None:
        """Make it so again. The endpoint goes on, and back to the worse model, once the history names it."""
        wipe_since(self.settings.home, self.saved, whole=("history.db",), folders=())
        pointer = pointer_path(self.settings.home, DATASET)
        shutil.copyfile(self.saved / "serving" / pointer.name, pointer.with_suffix(".new"))
        pointer.with_suffix(".new").replace(pointer)
        self.wait_until_served(self.worse)
        wipe_since(self.settings.home, self.saved, whole=WHOLE, folders=FOLDERS)

    def served(self) -> str | None:
        contract = load_contract(self.settings.expectations / f"{DATASET}.yaml")
        info = endpoint_info(self.settings, contract)
        return str(info["model"]["release"]) if info else None

    def wait_until_served(self, release: str) -> None:
        wait_for(lambda: self.served() == release, lambda: f"{self.served()} is served, not {release}")


@pytest.fixture(scope="module")
def town(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    from prefect.settings import PREFECT_API_URL

    folder = tmp_path_factory.mktemp("killed")
    port = free_port()
    settings = make_project(folder / "town", port=port, features=BLIND, gate=LAX)
    settings.home.mkdir(parents=True)
    forker = Forker(settings, str(PREFECT_API_URL.value()))
    try:
        worse = forker.train(**QUICK, reason="worse")
        assert worse["outcome"] == "promoted"
        write_contract(settings.root, serve={"port": port})
        forker.train(step="decide", point="before", **BETTER)
        shutil.copytree(settings.home, folder / "saved", ignore=shutil.ignore_patterns("supervisor", "logs"))
        yield Town(settings, folder / "saved", forker, worse["release"])
    finally:
        forker.end()
        stop_all(settings)


def test_wherever_a_training_is_killed_there_is_one_champion_and_the_next_run_succeeds(
    town: Town, drill_table: DrillTable
) -> None:
    repetitions = NTH[: count(few=1, promised=10)]
    cases = [(step, point, nth) for nth in repetitions for step in STEPS for point in POINTS]
    if not FULL:
        cases = [("record-verdict", "during", 2), ("roll-out", "before", 1)]
    then, next_runs = Counter[str](), Counter[str]()
    for number, case in enumerate(cases):
        if number:
            town.reset()
        step, point, nth = case
        town.forker.train(step=step, point=point, nth=nth, **BETTER)
        then[_check(town, case)] += 1
        again = town.forker.train(**BETTER)
        next_runs[again["outcome"]] += 1
        assert again["outcome"] in ("promoted", "unchanged"), case
        assert _check(town, case) == "the better one", case
        pointer = read_pointer(town.settings.home, DATASET)
        assert pointer is not None
        assert pointer.release == again["release"], case
        town.wait_until_served(again["release"])
        repaired = town.forker.repair(DATASET)
        assert set(repaired["found"]) <= {"registry-behind"}, case
        assert repaired["left"] == [], case
    drill_table.add(
        "kill -9 in the last eight steps of a training, before, during and after what they write", len(cases),
        f"champion then: {_told(then)}; the next run: {_told(next_runs)}; then always the better one, served",
    )  # fmt: skip


def _check(town: Town, case: tuple[str, str, int]) -> str:
    """Return which model is champion, once the chain, the releases, the pointer and the endpoint are well."""
    with closing(History(town.settings.history)) as history:
        assert history.verify_chain() == (), case
        records, champion = history.records(DATASET), history.champion(DATASET)
        standings = history.standings(DATASET)
    crowned = [record.release for record in records if record.crowns]
    assert champion is not None
    assert crowned == [town.worse, champion.release][: len(crowned)], case
    assert len(crowned) <= 2, case
    named = {record.release for record in records if record.release}
    assert [d for d, standing in standings.items() if standing == "champion" and d in named] == [crowned[-1]]
    pointer = read_pointer(town.settings.home, DATASET)
    assert pointer is not None
    assert pointer.release in crowned, case
    assert town.served() in crowned, case
    for release in crowned:
        load_release(town.settings.releases / DATASET / str(release))
    if champion.release == town.worse:
        return "the worse one"
    assert champion.verdict is not None
    assert champion.verdict.promoted, case
    return "the better one"


def _told(counter: Counter[str]) -> str:
    return ", ".join(f"{what} {n}" for what, n in sorted(counter.items()))
