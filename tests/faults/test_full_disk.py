"""A disk that fills up while a model is trained: the run says why it failed, and the champion stays."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.train import train
from hedonic.answer import ask, example_row
from hedonic.data.contract_file import load_contract
from hedonic.endpoint import start_endpoint
from hedonic.promotion.history import History
from hedonic.promotion.pointer import read_pointer
from hedonic.serving.predictor import load_release
from hedonic.settings import Settings
from hedonic.supervisor import stop_all
from tests.drills import DrillTable, count
from tests.flows.conftest import results_in
from tests.project import make_project

pytestmark = [pytest.mark.slow, pytest.mark.drill]

DATASET = "small_county"
QUICK: dict[str, Any] = {"dataset": DATASET, "trials": 2, "families": ("ridge",)}
DISK_MB = 400
STATED = ("no space left", "disk is full", "disk i/o error", "is the disk full")


@dataclass(frozen=True, slots=True)
class Town:
    """A project whose home is a disk of its own, with a champion that serves."""

    settings: Settings
    release: str

    @property
    def ballast(self) -> Path:
        return self.settings.home / "ballast"


@pytest.fixture(scope="module")
def town(prefect_server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("disk") / "town"
    settings = make_project(folder)
    settings.home.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", str(settings.home)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: that needs root")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HEDONIC_ROOT", str(settings.root))
            patch.setenv("HEDONIC_HOME", str(settings.home))
            for name, value in settings.environment().items():
                if not name.startswith("PREFECT"):
                    patch.setenv(name, value)
            with results_in(settings.home / "results"):
                first = train(**QUICK, reason="first")
                assert first.outcome == "promoted"
                yield Town(settings, first.release)
    finally:
        stop_all(settings)
        subprocess.run(["umount", "--lazy", str(settings.home)], check=True)


@contextmanager
def full_but_for(town: Town, kilobytes: int) -> Iterator[None]:
    """Leave so much of the disk and up to 64 KB more, for as long as this lasts, whoever else writes."""
    block = b"\0" * 65_536
    try:
        with town.ballast.open("wb", buffering=0) as file:
            while shutil.disk_usage(town.settings.home).free >= kilobytes * 1024 + len(block):
                file.write(block)
        yield
    finally:
        town.ballast.unlink()


def half_written(home: Path) -> list[str]:
    """Return the snapshots, candidates and releases that are not whole, by what each must hold."""
    whole = {"snapshots": "snapshot.json", "candidates": "fit.json", "releases": "manifest.json"}
    stores = [home / name for name in ("snapshots", "candidates", "releases", "validations", "reports")]
    return [str(path) for store in stores for path in store.rglob(".*")] + [
        str(folder.relative_to(home))
        for kind, witness in whole.items()
        for folder in home.glob(f"{kind}/*/*")
        if not folder.name.startswith(".") and not (folder / witness).is_file()
    ]


def assert_the_champion_serves(settings: Settings, release: str) -> None:
    """The history, the pointer, the release's folder and the endpoint all say so; nothing is half-written."""
    with closing(History(settings.history)) as history:
        champion = history.champion(DATASET)
        history.verify_chain()
    assert champion is not None
    assert champion.release == release
    pointer = read_pointer(settings.home, DATASET)
    assert pointer is not None
    assert pointer.release == release
    load_release(settings.releases / DATASET / release)
    contract = load_contract(settings.expectations / f"{DATASET}.yaml")
    answer = ask(settings, contract, [example_row(contract)])
    assert answer["model"]["release"] == release
    assert half_written(settings.home) == []


def causes(err: BaseException | None) -> str:
    told = []
    while err is not None:
        told.append(f"{type(err).__name__}: {err}")
        err = err.__cause__ or err.__context__
    return " <- ".join(told)


def test_wherever_the_disk_fills_up_the_old_champion_serves_and_the_next_run_succeeds(
    town: Town, drill_table: DrillTable
) -> None:
    sizes = [0, 900, 60, 200, 400, 700, 1_200, 1_600, 2_200, 3_000, 4_500, 7_000]
    champion, outcomes = town.release, list[str]()
    for number, kilobytes in enumerate(sizes[: count(few=2, promised=12)]):
        given = QUICK | {"seed": number + 1}
        try:
            with full_but_for(town, kilobytes):
                result = train(**given, reason=f"{kilobytes} kB left")
            outcomes.append(result.outcome)
            champion = result.release or champion
        except Exception as err:  # noqa: BLE001 (whatever is raised must say what was wrong)
            outcomes.append(causes(err))
        assert_the_champion_serves(town.settings, champion)
        again = train(**given, reason="space again")
        champion = again.release or champion
        assert_the_champion_serves(town.settings, champion)
    failures = [told for told in outcomes if told not in ("promoted", "kept", "refused")]
    assert failures
    assert [told for told in failures if not any(word in told.lower() for word in STATED)] == []
    found = f"{len(failures)} runs failed and said why, the champion served on"
    drill_table.add("disk full at a write of a training run", len(outcomes), found)


def test_an_endpoint_starts_from_a_full_disk(town: Town) -> None:
    """A champion that needs space to be served would be lost with the disk."""
    contract = load_contract(town.settings.expectations / f"{DATASET}.yaml")
    pointer = read_pointer(town.settings.home, DATASET)
    assert pointer is not None
    with full_but_for(town, 64):  # room for its definition and a few lines of log, not for a copy of anything
        assert start_endpoint(town.settings, DATASET, contract.serve.port).release == pointer.release
        assert_the_champion_serves(town.settings, pointer.release)
