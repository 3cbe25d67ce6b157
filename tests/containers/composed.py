"""A composition that runs: brought up by the commands of docs/compose.md, and asked through its proxy.

What registries hold (Postgres, nginx, Prometheus) is stood in for by images from Debian's packages, in
``stand_ins``; Grafana is no such package, and its profile stays off.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hedonic.answer import example_row
from hedonic.data.contract_file import load_contract
from hedonic.images.building import build_named_image
from hedonic.images.engine import Engine, Recipe
from hedonic.settings import Settings
from tests.containers.conftest import TOKEN, docker
from tests.deployments.test_compose import compose
from tests.markdown import bash_blocks
from tests.ports import free_port
from tests.project import ROOT, SHARED, copy_ours, make_project
from tests.waiting import wait_for

DATASET = "king_county"
PARTS = {
    "postgres", "mlflow", "prefect", "worker", "watcher", "optuna", "front-page", "endpoint-king_county",
    "endpoint-california", "prometheus", "proxy",
}  # fmt: skip
LIMIT_S = 420.0
BEARER = f"Bearer {TOKEN}"
POSTGRES_PASSWORD = "a-password-of-the-tests"
_STAND_INS = Path(__file__).parent / "stand_ins"


def documented(section: str) -> list[str]:
    """Return the blocks of commands of a section of docs/compose.md; of its beginning for no section."""
    parts = re.split(r"^## (.+)$", (ROOT / "docs" / "compose.md").read_text(), flags=re.MULTILINE)
    text = dict(zip(["", *parts[1::2]], parts[0::2], strict=True))[section]
    return [block.strip() for block in bash_blocks(text)]


@dataclass(frozen=True)
class Site:
    """A folder with ``deployments`` and ``.env``, in which the documented commands are given.

    Attributes:
        up: the commands that bring it up; the first names the files.
        row: what the endpoint is asked about.
        domain: the name under which the proxy knows the front page; each part has one below it.
        tls: what is trusted, where the proxy speaks TLS.
    """

    folder: Path
    port: int
    up: str
    row: dict[str, Any]
    domain: str = "localhost"
    tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """Return the composition's name, which no other has at this time."""
        return f"hedonic-test-{self.port}"

    @property
    def down(self) -> str:
        """Return the commands that take it down."""
        return self.up.replace("up -d", "down")

    def given(self, commands: str) -> str:
        """Return what documented commands print, given where the files are named that it came up with."""
        return self.shell(f"{self.up.splitlines()[0]}\n{commands}")

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
        return self.shell(self.up.replace("up -d", "exec -T ") + " ".join((part, *words)))

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return what the engine knows of each part's container."""
        found = json.loads(docker("inspect", *self._containers("{{.ID}}")))
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def logs(self, *options: str) -> str:
        """Return what each container wrote, by default the end of it."""
        names = self._containers("{{.Names}}")
        wanted = options or ("--tail", "12")
        return "\n".join(f"=== {name}\n{docker('logs', *wanted, name)}" for name in names)

    def _containers(self, what: str) -> list[str]:
        ours = f"label=com.docker.compose.project={self.name}"
        return docker("ps", "--all", "--filter", ours, "--format", what).split()

    def ask(
        self,
        path: str,
        body: Any = None,
        part: str = "",
        credentials: str | None = BEARER,
        origin: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and content of what the proxy answers; status 0 where it does not."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Host": self.host(part), "Content-Type": "application/json"}
        if credentials:
            headers["Authorization"] = credentials
        if origin:
            headers["Origin"] = origin
        try:
            if self.tls is not None:
                plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
                name = self.host(part).partition(":")[0]
                connection.sock = self.tls.wrap_socket(plain, server_hostname=name)
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
        return f"{part}.{self.domain}:{self.port}".lstrip(".")

    def told(self, path: str, body: Any = None, part: str = "", credentials: str | None = BEARER) -> Any:
        """Return what the proxy answers, which is JSON."""
        status, _, content = self.ask(path, body, part, credentials)
        assert status == 200, f"{part} {path}: {status} {content[:500]!r}"
        return json.loads(content)

    def predicted(self) -> dict[str, Any] | None:
        """Return the endpoint's answer; None while it gives none."""
        status, _, content = self.ask(f"/endpoints/{DATASET}/predict", {"instances": [self.row]})
        return json.loads(content) if status == 200 else None

    def champion(self) -> dict[str, Any]:
        """Return the endpoint's answer, once it gives one."""
        answer: dict[str, Any] = wait_for(self.predicted, self.logs, LIMIT_S)
        return answer

    def require_whole(self) -> None:
        """Require that every part runs, and is well by its own check; nothing crashed on the way."""
        facts = self.facts()
        assert set(facts) == PARTS
        assert {name: one["RestartCount"] for name, one in facts.items() if one["RestartCount"]} == {}
        assert {name for name, one in facts.items() if one["State"]["Status"] != "running"} == set()
        checked = {name for name, one in facts.items() if "Health" in one["State"]} - {"endpoint-california"}
        assert len(checked) == 7

        def ill() -> dict[str, str]:
            found = self.facts()
            return {n: s for n in checked if (s := found[n]["State"]["Health"]["Status"]) != "healthy"}

        wait_for(lambda: not ill(), lambda: str(ill()))


def quick_project(folder: Path) -> Settings:
    """Return a project with one contract, on a sixth of King County, that is trained in a moment."""
    settings = make_project(folder, DATASET, port=3000, search={"trials": 1}, features={"comparables": None})
    copy_ours(folder, *SHARED, "requirements-factory.txt")  # an image is made of files, not of links
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    content["deployments"] = [one for one in content["deployments"] if "california" not in one["tags"]]
    (folder / "prefect.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return settings


@contextmanager
def composed(
    engine: Engine,
    folder: Path,
    up: str,
    domain: str = "localhost",
    tls: ssl.SSLContext | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Site]:
    """Bring a composition up, with the images that its ``.env`` names; nothing of it runs afterwards.

    Args:
        folder: in which the commands are given; it is there.
        up: the commands that bring it up; the first names the files.
        domain: as Site has it.
        tls: as Site has it.
        variables: more lines of ``.env``.
    """
    compose()
    project = quick_project(folder / "project")
    (folder / "deployments").symlink_to(ROOT / "deployments")
    base = {"BASE_IMAGE": project.image.base}
    images = {
        name: engine.build(
            f"hedonic-stand-in-{name}",
            Recipe(_STAND_INS, _STAND_INS / f"{name}.Dockerfile", arguments=base),
            project.logs / f"{name}.log",
        ).name
        for name in ("postgres", "nginx", "prometheus")
    }
    worker = build_named_image(project, engine, "worker")
    port, row = free_port(), example_row(load_contract(project.expectations / f"{DATASET}.yaml"))
    (folder / ".env").write_text(
        textwrap.dedent(f"""\
        POSTGRES_PASSWORD={POSTGRES_PASSWORD}
        WORKER_IMAGE={worker.name}
        HEDONIC_API_TOKEN={TOKEN}
        POSTGRES_IMAGE={images["postgres"]}
        PROXY_IMAGE={images["nginx"]}
        PROMETHEUS_IMAGE={images["prometheus"]}
        LISTEN=127.0.0.1:{port}
        PUBLIC_PORT=:{port}
        """)
        + "".join(f"{name}={value}\n" for name, value in (variables or {}).items())
    )
    site = Site(folder, port, up, row, domain, tls)
    with ExitStack() as stack:
        stack.callback(docker, "image", "rm", worker.name)
        stack.callback(site.shell, f"{site.down} --volumes")
        site.shell(up)
        yield site
