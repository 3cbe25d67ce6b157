"""One engine, one tiny release and its image for all tests of containers; without an engine they skip."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hedonic.images.book import BuiltImage
from hedonic.images.building import build_release_image
from hedonic.images.engine import Engine, NoEngine
from hedonic.promotion.bento import Bento, build_bento
from hedonic.settings import Settings
from tests.endpoints import crown
from tests.ports import free_port
from tests.project import ROOT
from tests.tiny_release import tiny_model, tiny_release
from tests.waiting import wait_for

ENGINE = ROOT.parent / "shared" / "containers" / "engine.sh"
CANARY = "canary-4f1d-never-in-a-layer"
TOKEN = "a-token-of-the-tests"
HARDENED = (
    "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    "--memory", "512m", "--cpus", "1", "--restart", "unless-stopped",
)  # fmt: skip


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine that ../shared/containers/engine.sh starts, where it is there; else one that answers."""
    with pytest.MonkeyPatch.context() as patch:
        if ENGINE.is_file():
            started = subprocess.run(
                ["bash", "-c", f'eval "$({ENGINE} 3.11)" && env -0'],
                capture_output=True,
                text=True,
                check=True,
            )
            for line in started.stdout.split("\0"):
                name, _, value = line.partition("=")
                if name == "PATH" or name.startswith("DOCKER_"):
                    patch.setenv(name, value)
        try:
            yield Engine.open()
        except NoEngine as err:
            pytest.skip(f"{err} ({ENGINE} is not there)")


@dataclass(frozen=True)
class Town:
    """A home with one release, its bento, and the bento's image."""

    settings: Settings
    release: Path
    bento: Bento
    image: BuiltImage


@pytest.fixture(scope="session")
def town(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """The tiny town, built with a secret in the builder's environment, its project and its home."""
    settings = Settings(root=ROOT, home=tmp_path_factory.mktemp("images") / "home")
    release = tiny_release(settings.releases)
    bento = build_bento(settings.root, release, settings.bentos, promoted=True)
    (settings.home / ".env").write_text(f"HEDONIC_API_TOKEN={CANARY}\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "HEDONIC_API_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "UV_DEFAULT_INDEX",
            "MLFLOW_TRACKING_TOKEN",
        ):
            patch.setenv(name, CANARY)
        # The other worker's town is the same to a byte, and so is its image's name.
        with (tmp_path_factory.getbasetemp().parent / "building").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            image = build_release_image(settings, engine, bento.tag, release)
    return Town(settings, release, bento, image)


def second_release(town: Town) -> tuple[Path, Bento]:
    """Return another release of the tiny town, and its bento; champion from now on."""
    release = tiny_release(town.settings.releases, tiny_model(seed=5))
    bento = build_bento(town.settings.root, release, town.settings.bentos, promoted=True)
    return release, bento


def name_champion(settings: Settings, release: Path, bento: Bento) -> None:
    """Make the pointer name a release with its bento."""
    crown(settings.home, release)
    path = settings.serving / f"{release.parent.name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "bento": bento.tag}))


def docker(*arguments: str, check: bool = True) -> str:
    """Return what the engine's command prints, both ways."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).strip()


@dataclass(frozen=True)
class Running:
    """A container that was started by the command line."""

    name: str
    port: int

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = TOKEN,
        kind: str = "application/json",
    ) -> tuple[int, Any]:
        """Return status and content of an answer; (0, why) where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            raw = body if isinstance(body, str | None) else json.dumps(body)
            connection.request(method, path, raw, {**headers, "Content-Type": kind})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content.startswith((b"{", b"[")) else content
        except (OSError, http.client.HTTPException) as err:
            return 0, repr(err)
        finally:
            connection.close()

    def state(self, form: str) -> str:
        """Return a part of what the engine knows of it."""
        return docker("inspect", "--format", form, self.name)

    @property
    def health(self) -> str:
        """Return what its own health check says."""
        return self.state("{{.State.Health.Status}}")


Start = Callable[..., Running]


@pytest.fixture(scope="module")
def start(engine: Engine) -> Iterator[Start]:
    """Return a function that runs an image as its user would, hardened, until the module ends."""
    with contextlib.ExitStack() as stack:

        def start(
            image: str, *words: str, inside: int = 8080, user: str | None = None, **environment: str
        ) -> Running:
            port = free_port()
            given = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
            published = ("--publish", f"127.0.0.1:{port}:{inside}")
            who = ("--user", user) if user else ()
            name = docker("run", "--detach", *HARDENED, *who, *published, *given, image, *words)[-64:]
            stack.callback(docker, "rm", "--force", name)
            return Running(name, port)

        yield start


def ready(running: Running) -> Running:
    """Return it once it is ready."""
    wait_for(lambda: running.ask("GET", "/readyz")[0] == 200, lambda: docker("logs", running.name))
    return running


def command(name: str, package: str) -> str:
    """Return where a command is that a test cannot do without."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin")
    assert found, f"{name} is missing. Install it: apt-get install -y {package}"
    return found
