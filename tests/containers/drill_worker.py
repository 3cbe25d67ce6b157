"""The factory's own image: what is in it, and that a flow runs in it. It takes minutes: in `make drills`."""

from __future__ import annotations

import json

import pytest

from hedonic.images.book import BuiltImage, ImageBook
from hedonic.images.building import build_named_image
from hedonic.images.engine import Engine
from hedonic.settings import Settings
from tests.containers.conftest import docker
from tests.drills import DrillTable
from tests.project import ROOT

pytestmark = [pytest.mark.container, pytest.mark.drill, pytest.mark.slow]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(root=ROOT, home=tmp_path_factory.mktemp("worker") / "home")


@pytest.fixture(scope="module")
def worker(engine: Engine, settings: Settings, drill_table: DrillTable) -> BuiltImage:
    image = build_named_image(settings, engine, "worker")
    drill_table.add("image of the worker", 1, f"{image.size / 1e6:.0f} MB")
    return image


def within(worker: BuiltImage, *words: str) -> str:
    return docker("run", "--rm", "--network", "none", "--cap-drop", "ALL", worker.name, *words)


def test_it_holds_the_factory_and_no_tool_of_its_tests(worker: BuiltImage, settings: Settings) -> None:
    bill = json.loads(ImageBook(settings).bill(worker.name).read_text())
    told = {one["name"].lower() for one in bill["components"]}
    assert {"prefect", "mlflow", "optuna", "great-expectations"} <= {name.replace("_", "-") for name in told}
    assert not {"pytest", "moto", "playwright", "mypy", "ruff"} & told
    assert within(worker, "id", "-u") == "10001"
    assert within(worker, "sh", "-c", "command -v cc gcc make || echo none") == "none"
    assert (
        within(worker, "sh", "-c", "ls -A /srv/hedonic | grep -E '^\\.(env|git|hedonic|venv)$' || echo none")
        == "none"
    )


def test_a_flow_runs_in_it_without_a_network(worker: BuiltImage) -> None:
    done = within(worker, "hedonic", "run", "king_county", "--steps", "validate")
    assert "stopped king_county" in done
