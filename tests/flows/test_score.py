"""The scoring flow, for real: Prefect, a verified release, a table in and a table out."""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.score import score
from hedonic.errors import ReleaseRefused, UserError
from hedonic.orchestration import find_callable
from tests.project import ROOT
from tests.serving.conftest import crown
from tests.tiny_release import ROW, tiny_release

pytestmark = pytest.mark.slow


@pytest.fixture
def home(prefect_server: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home with a champion and a table of it."""
    monkeypatch.setenv("HEDONIC_ROOT", str(ROOT))
    monkeypatch.setenv("HEDONIC_HOME", str(tmp_path))
    crown(tmp_path, tiny_release(tmp_path / "releases"))
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*ROW])
        writer.writeheader()
        writer.writerows([ROW, {**ROW, "area": 900}])
    return tmp_path


def artifact(key: str) -> list[dict[str, Any]]:
    """Return the rows of a table artifact."""
    from prefect.artifacts import Artifact

    found: Any = asyncio.run(Artifact.aget(key))  # type: ignore[arg-type]
    return list(json.loads(found.data))


def test_a_table_is_scored_by_the_champion_and_its_figures_are_an_artifact(home: Path) -> None:
    scoring = score("tiny_town", str(home / "in.csv"), str(home / "out.csv"))
    with (home / "out.csv").open(newline="") as file:
        estimates = [float(line["estimate"]) for line in csv.DictReader(file)]
    assert scoring.n_rows == len(estimates) == 2
    assert scoring.estimate_mean == sum(estimates) / 2
    told = {row["figure"]: row["value"] for row in artifact("scoring-tiny-town")}
    assert told["release"] == next((home / "releases" / "tiny_town").iterdir()).name
    assert (told["n_rows"], told["n_refused"]) == (2, 0)
    assert (told["estimate_min"], told["estimate_max"]) == (min(estimates), max(estimates))


def test_a_bad_row_fails_the_flow_and_nothing_is_written(home: Path) -> None:
    (home / "bad.jsonl").write_text(json.dumps({**ROW, "bedrooms": 99}))
    with pytest.raises(UserError, match=r"row 0, bedrooms: must be at most 10; got 99"):
        score("tiny_town", str(home / "bad.jsonl"), str(home / "out.jsonl"))
    assert not (home / "out.jsonl").exists()


def test_a_damaged_champion_scores_nothing(home: Path) -> None:
    folder = next((home / "releases" / "tiny_town").iterdir())
    (folder / "golden.json").write_text("{}")
    with pytest.raises(ReleaseRefused, match=r"golden\.json"):
        score("tiny_town", str(home / "in.csv"), str(home / "out.csv"))
    assert not (home / "out.csv").exists()


def test_the_deployment_gives_the_flow_parameters_that_it_knows() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (deployment,) = [deployment for deployment in deployments if deployment["name"] == "score"]
    flow: Any = find_callable(ROOT, deployment["entrypoint"])
    assert deployment["parameters"].keys() <= flow.parameters.properties.keys()
    assert set(flow.parameters.required) == {"dataset", "source", "target"}
