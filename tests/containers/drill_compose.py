"""The composition, brought up by the commands of docs/compose.md: a champion comes of itself, is replaced
under load, outlives its containers, and comes back from a backup when every volume is lost.

What registries hold (Postgres, nginx, Prometheus) is stood in for by images from Debian's packages, in
``stand_ins``; Grafana is no such package, and its profile stays off.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hedonic.answer import example_row
from hedonic.data.contract import load_contract
from hedonic.images.building import build_named_image
from hedonic.images.engine import Engine, Recipe
from hedonic.settings import Settings
from tests.callers import callers
from tests.containers.conftest import TOKEN, docker, eventually
from tests.deployments.test_compose import compose
from tests.drills import DrillTable
from tests.markdown import bash_blocks
from tests.project import ROOT, SHARED, copy_ours, free_port, make_project

pytestmark = [pytest.mark.container, pytest.mark.slow]

DATASET = "king_county"
STAND_INS = Path(__file__).parent / "stand_ins"
PARTS = {
    "postgres", "mlflow", "prefect", "worker", "watcher", "optuna", "front-page", "endpoint-king_county",
    "endpoint-california", "prometheus", "proxy",
}  # fmt: skip
LIMIT_S = 420.0


def documented(section: str) -> list[str]:
    """Return the blocks of commands of a section of docs/compose.md; of its beginning for no section."""
    parts = re.split(r"^## (.+)$", (ROOT / "docs" / "compose.md").read_text(), flags=re.MULTILINE)
    text = dict(zip(["", *parts[1::2]], parts[0::2], strict=True))[section]
    return bash_blocks(text)


UP = next(line for line in documented("")[0].splitlines() if line.startswith("docker compose"))
BACKUP, RESTORE = documented("Backup and restore")
DOWN = UP.replace("up -d", "down")


@dataclass(frozen=True)
class Site:
    """A folder with ``deployments`` and ``.env``, in which the documented commands are given.

    Attributes:
        row: what the endpoint is asked about.
    """

    folder: Path
    port: int
    row: dict[str, Any]

    @property
    def name(self) -> str:
        """Return the composition's name, which no other has at this time."""
        return f"hedonic-test-{self.port}"

    def shell(self, commands: str) -> str:
        """Return what the commands print, given in this folder as they stand."""
        words = compose()
        # An older compose is a command of its own.
        ours = f'docker() {{ [ "$1" = compose ] && shift && {words[0]} "$@"; }}' if len(words) == 1 else ""
        lines = (ours, f"export COMPOSE_PROJECT_NAME={self.name}", commands)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
            cwd=self.folder, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        told = f"{commands}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode == 0, f"{told}\n{self.logs() if 'down' not in commands else ''}"
        return done.stdout

    def within(self, part: str, *words: str) -> str:
        """Return what a command prints that is run in the container of a part."""
        return self.shell(UP.replace("up -d", "exec -T ") + " ".join((part, *words)))

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return what the engine knows of each part's container."""
        found = json.loads(docker("inspect", *self._containers("{{.ID}}")))
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def logs(self) -> str:
        """Return the end of what each container wrote."""
        names = self._containers("{{.Names}}")
        return "\n".join(f"=== {name}\n{docker('logs', '--tail', '12', name)}" for name in names)

    def _containers(self, what: str) -> list[str]:
        ours = f"label=com.docker.compose.project={self.name}"
        return docker("ps", "--all", "--filter", ours, "--format", what).split()

    def ask(
        self, path: str, body: Any = None, part: str = "", token: str | None = TOKEN
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and content of what the proxy answers; status 0 where it does not."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Host": self.host(part), "Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            method, raw = ("GET", None) if body is None else ("POST", json.dumps(body))
            connection.request(method, path, raw, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except (OSError, http.client.HTTPException) as err:
            return 0, {}, repr(err).encode()
        finally:
            connection.close()

    def host(self, part: str = "") -> str:
        """Return the name under which the proxy knows a part; the front page has the shortest."""
        return f"{part}.localhost:{self.port}".lstrip(".")

    def told(self, path: str, body: Any = None, part: str = "") -> Any:
        """Return what the proxy answers, which is JSON."""
        status, _, content = self.ask(path, body, part)
        assert status == 200, f"{part} {path}: {status} {content[:500]!r}"
        return json.loads(content)

    def predicted(self) -> dict[str, Any] | None:
        """Return the endpoint's answer; None while it gives none."""
        status, _, content = self.ask(f"/endpoints/{DATASET}/predict", {"instances": [self.row]})
        return json.loads(content) if status == 200 else None

    def champion(self) -> dict[str, Any]:
        """Return the endpoint's answer, once it gives one."""
        answer: dict[str, Any] = eventually(self.predicted, self.logs, LIMIT_S)
        return answer


def quick_project(folder: Path) -> Settings:
    """Return a project with one contract, on a sixth of King County, that is trained in a moment."""
    settings = make_project(folder, DATASET, port=3000, search={"trials": 1}, features={"comparables": None})
    copy_ours(folder, *SHARED, "requirements-factory.txt")  # an image is made of files, not of links
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    content["deployments"] = [one for one in content["deployments"] if "california" not in one["tags"]]
    (folder / "prefect.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return settings


@pytest.fixture(scope="module")
def site(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The folder, with the images that its ``.env`` names; nothing of it runs afterwards."""
    compose()
    folder = tmp_path_factory.mktemp("compose")
    project = quick_project(folder / "project")
    (folder / "deployments").symlink_to(ROOT / "deployments")
    images = {
        name: engine.build(
            f"hedonic-stand-in-{name}",
            Recipe(STAND_INS, STAND_INS / f"{name}.Dockerfile", arguments={"BASE_IMAGE": project.image.base}),
            project.logs / f"{name}.log",
        ).name
        for name in ("postgres", "nginx", "prometheus")
    }
    worker = build_named_image(project, engine, "worker")
    port, row = free_port(), example_row(load_contract(project.expectations / f"{DATASET}.yaml"))
    (folder / ".env").write_text(
        textwrap.dedent(f"""\
        POSTGRES_PASSWORD=a-password-of-the-tests
        WORKER_IMAGE={worker.name}
        HEDONIC_API_TOKEN={TOKEN}
        POSTGRES_IMAGE={images["postgres"]}
        PROXY_IMAGE={images["nginx"]}
        PROMETHEUS_IMAGE={images["prometheus"]}
        LISTEN=127.0.0.1:{port}
        PUBLIC_PORT=:{port}
        """)
    )
    site = Site(folder, port, row)
    with ExitStack() as stack:
        stack.callback(docker, "image", "rm", worker.name)
        stack.callback(site.shell, f"{DOWN} --volumes")
        site.shell(UP)
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
        {"Host": site.host(), "Authorization": f"Bearer {TOKEN}"},
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


def require_whole(site: Site) -> None:
    """Require that every part runs, and is well by its own check; nothing crashed on the way."""
    facts = site.facts()
    assert set(facts) == PARTS
    assert {name: one["RestartCount"] for name, one in facts.items() if one["RestartCount"]} == {}
    assert {name for name, one in facts.items() if one["State"]["Status"] != "running"} == set()
    checked = {name for name, one in facts.items() if "Health" in one["State"]} - {"endpoint-california"}
    assert len(checked) == 7

    def ill() -> dict[str, str]:
        found = site.facts()
        return {n: s for n in checked if (s := found[n]["State"]["Health"]["Status"]) != "healthy"}

    eventually(lambda: not ill(), lambda: str(ill()))


def test_every_part_is_healthy_and_the_first_champion_comes_of_itself(
    site: Site, first: dict[str, Any]
) -> None:
    assert first["predictions"][0]["estimate"] > 0
    require_whole(site)
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
    assert site.ask("/", token=None)[0] == 401
    assert site.ask(f"/endpoints/{DATASET}/predict", {"instances": [site.row]}, token=None)[0] == 401
    assert site.ask("/", part="elsewhere")[0] == 421
    assert site.ask("/endpoints/nowhere/predict", {"instances": [site.row]})[0] == 502
    status, headers, _ = site.ask(f"/endpoints/{DATASET}")
    assert (status, headers["Location"]) == (308, f"/endpoints/{DATASET}/")


def test_prometheus_scrapes_the_endpoint_that_is_ready(site: Site, first: dict[str, Any]) -> None:
    def up() -> bool:
        found = site.told("/api/v1/query?query=up", part="prometheus")["data"]["result"]
        return {one["metric"].get("dataset"): one["value"][1] for one in found}.get(DATASET) == "1"

    eventually(up, site.logs)


def test_the_next_release_takes_over_under_load_and_no_request_fails(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert second["model"]["release"] != first["model"]["release"]
    assert second["predictions"] != first["predictions"]


def test_what_is_taken_down_and_brought_up_again_has_lost_nothing(site: Site, second: dict[str, Any]) -> None:
    before = kept(site)
    assert before.champion == second["model"]["release"]
    assert len(before.trainings) == 2
    site.shell(DOWN)
    assert site.ask("/")[0] == 0
    site.shell(UP)
    assert kept(site) == before
    require_whole(site)


def test_what_lost_every_volume_comes_back_from_its_backup(
    site: Site, second: dict[str, Any], drill_table: DrillTable
) -> None:
    before = kept(site)
    site.shell(BACKUP)
    site.shell(f"{DOWN} --volumes")
    assert site.name not in docker("volume", "ls", "--format", "{{.Name}}")
    began = time.monotonic()
    site.shell(RESTORE)
    assert kept(site) == before
    drill_table.add("restored from a backup behind compose", 1, f"{time.monotonic() - began:.0f} s")
    require_whole(site)
    seen = json.loads(site.within("worker", "hedonic", "verify", "--json").splitlines()[-1])
    assert seen["ok"] is True
    # An answer of before the loss is known, and all of what it was made of still holds.
    site.within("worker", "hedonic", "trace", second["request_id"])
