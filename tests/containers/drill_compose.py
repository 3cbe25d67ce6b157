"""The composition, brought up by the commands of docs/compose.md: a champion comes of itself, is replaced
under load, outlives its containers, and comes back from a backup when every volume is lost.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hedonic.images.engine import Engine
from tests.callers import callers
from tests.containers.composed import BEARER, DATASET, PARTS, Site, composed, documented
from tests.containers.conftest import docker
from tests.drills import DrillTable
from tests.waiting import wait_for

pytestmark = [pytest.mark.container, pytest.mark.slow]

UP = "\n".join(documented("")[0].splitlines()[-2:])
BACKUP, RESTORE = documented("Backup and restore")


@pytest.fixture(scope="module")
def site(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The composition of one host."""
    with composed(engine, tmp_path_factory.mktemp("compose"), UP) as site:
        yield site


@pytest.fixture(scope="module")
def first(site: Site) -> dict[str, Any]:
    """What the first champion answers, which nobody asked for but the watcher."""
    return site.champion()


@pytest.fixture(scope="module")
def second(site: Site, first: dict[str, Any], drill_table: DrillTable) -> dict[str, Any]:
    """What the second champion answers, that was trained while callers asked the first all the while."""
    asking = callers(
        site.port, [site.row], 2, 0.01, f"/endpoints/{DATASET}/predict",
        {"Host": site.host(), "Authorization": BEARER},
    )  # fmt: skip
    with asking as answers:
        done = site.within(
            "worker", "hedonic", "run", DATASET, "--families", "boosting", "--json", "--require-promotion"
        )
        answers.wait_for(50)
    result = json.loads(done.splitlines()[-1])
    assert result["outcome"] == "promoted"
    assert answers.failed == []
    releases = [one.release for one in sorted(answers.told, key=lambda one: one.at)]
    assert set(releases) == {first["model"]["release"], result["release"]}
    assert releases[-50:] == [result["release"]] * 50
    found = f"0 of {len(releases):,} requests failed, slowest {answers.slowest_s:.2f} s"
    drill_table.add("a release replaced behind compose", 1, found)
    return site.champion()


@dataclass(frozen=True)
class Kept:
    """What must be there again."""

    champion: str
    predictions: Any
    trainings: frozenset[str]
    versions: frozenset[tuple[str, str]]
    history: tuple[str, ...]


def kept(site: Site) -> Kept:
    """Return what the composition knows now: runs, models, champion and a prediction."""
    answer = site.champion()
    wanted = {
        "flows": {"name": {"any_": ["train"]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    runs = site.told("/api/flow_runs/filter", wanted, "prefect")
    found = site.told("/api/2.0/mlflow/model-versions/search", None, "mlflow")
    chain = json.loads(site.within("worker", "hedonic", "history", DATASET, "--json").splitlines()[-1])
    assert chain["problems"] == []
    return Kept(
        champion=answer["model"]["release"],
        predictions=answer["predictions"],
        trainings=frozenset(run["id"] for run in runs),
        versions=frozenset((one["name"], one["version"]) for one in found["model_versions"]),
        history=tuple(record["release"] for record in chain["records"]),
    )


def test_every_part_is_healthy_and_the_first_champion_comes_of_itself(
    site: Site, first: dict[str, Any]
) -> None:
    assert first["predictions"][0]["estimate"] > 0
    site.require_whole()
    # It has no champion: it waits, and says that it is not ready.
    waiting = site.facts()["endpoint-california"]
    assert waiting["State"]["Health"]["Status"] == "unhealthy"


def test_the_proxy_alone_is_reached_from_outside(site: Site, first: dict[str, Any]) -> None:
    facts = site.facts()
    published = {name: one["HostConfig"]["PortBindings"] for name, one in facts.items()}
    assert {name: bound for name, bound in published.items() if bound} == {
        "proxy": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(site.port)}]}
    }
    networks = {name: set(one["NetworkSettings"]["Networks"]) for name, one in facts.items()}
    inside, outside = f"{site.name}_inside", f"{site.name}_outside"
    assert networks == {name: {inside} for name in PARTS} | {"proxy": {inside, outside}}
    assert json.loads(docker("network", "inspect", inside))[0]["Internal"] is True


@pytest.mark.parametrize(
    ("part", "path", "word"),
    [
        ("", "/", "Hedonic</title>"),
        ("prefect", "/", "<title>Prefect"),
        ("prefect", "/v2/", "<title>Prefect"),
        ("mlflow", "/", "<title>MLflow"),
        ("optuna", "/dashboard", "<title>Optuna"),
        ("prometheus", "/-/ready", "Prometheus Server is Ready"),  # Debian leaves its pages out
    ],
)
def test_through_the_proxy_each_page_opens(
    site: Site, first: dict[str, Any], part: str, path: str, word: str
) -> None:
    status, _, content = site.ask(path, part=part)
    assert status == 200
    assert word in content.decode()


def test_who_has_no_token_or_another_name_sees_nothing(site: Site, first: dict[str, Any]) -> None:
    assert site.ask("/", credentials=None)[0] == 401
    assert site.ask(f"/endpoints/{DATASET}/predict", {"instances": [site.row]}, credentials=None)[0] == 401
    assert site.ask("/", part="elsewhere")[0] == 421
    assert site.ask("/endpoints/nowhere/predict", {"instances": [site.row]})[0] == 502
    status, headers, _ = site.ask(f"/endpoints/{DATASET}")
    assert (status, headers["Location"]) == (308, f"/endpoints/{DATASET}/")


def test_prometheus_scrapes_the_endpoint_that_is_ready(site: Site, first: dict[str, Any]) -> None:
    def up() -> bool:
        found = site.told("/api/v1/query?query=up", part="prometheus")["data"]["result"]
        return {one["metric"].get("dataset"): one["value"][1] for one in found}.get(DATASET) == "1"

    wait_for(up, site.logs)


def test_the_next_release_takes_over_under_load_and_no_request_fails(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert second["model"]["release"] != first["model"]["release"]
    assert second["predictions"] != first["predictions"]


def test_what_is_taken_down_and_brought_up_again_has_lost_nothing(site: Site, second: dict[str, Any]) -> None:
    before = kept(site)
    assert before.champion == second["model"]["release"]
    assert len(before.trainings) == 2
    site.shell(site.down)
    assert site.ask("/")[0] == 0
    site.shell(UP)
    assert kept(site) == before
    site.require_whole()


def test_what_lost_every_volume_comes_back_from_its_backup(
    site: Site, second: dict[str, Any], drill_table: DrillTable
) -> None:
    before = kept(site)
    site.given(BACKUP)
    site.shell(f"{site.down} --volumes")
    assert site.name not in docker("volume", "ls", "--format", "{{.Name}}")
    began = time.monotonic()
    site.given(RESTORE)
    assert kept(site) == before
    drill_table.add("restored from a backup behind compose", 1, f"{time.monotonic() - began:.0f} s")
    site.require_whole()
    seen = json.loads(site.within("worker", "hedonic", "verify", "--json").splitlines()[-1])
    assert seen["ok"] is True
    # An answer of before the loss is known, and all of what it was made of still holds.
    site.within("worker", "hedonic", "trace", second["request_id"])
