"""The container engine: the one module that speaks to it. DOCKER_HOST says where it listens."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker  # type: ignore[import-untyped]
from docker.errors import APIError, DockerException, ImageNotFound, NotFound  # type: ignore[import-untyped]
from requests.exceptions import RequestException

from hedonic.errors import HedonicError, UserError

_CALL_LIMIT_S, _BUILD_LIMIT_S = 60, 3600
_LOCAL = "127.0.0.1"
_BUILDERS = ("DOCKER_", "BUILDKIT_", "BUILDX_")

# What any container of ours may do and use, and nothing else.
HARDENED: dict[str, Any] = {
    "read_only": True,
    "tmpfs": {"/tmp": "rw,noexec,nosuid,size=128m"},  # noqa: S108 (of the container)
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "mem_limit": "512m",
    "nano_cpus": 1_000_000_000,
    "pids_limit": 128,
}


class NoEngine(UserError):
    """No container engine answers."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image as the engine has it: its name, id (sha256 of its configuration), size in bytes and labels."""

    name: str
    id: str
    size: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an image is built.

    Attributes:
        context: the folder whose files it may take.
        file: the Dockerfile.
        arguments: of the build.
        secrets: files that are there while packages are installed, and in no layer.
    """

    context: Path
    file: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the engine has it.

    Attributes:
        port: of this machine's loopback, that leads to it.
        environment: of its process; what the image sets is part of it.
    """

    name: str
    image_id: str
    is_running: bool
    port: int | None
    environment: Mapping[str, str]


class Engine:
    """The engine of this machine."""

    def __init__(self, client: Any) -> None:
        """Speak through the client of docker's own library."""
        self._client = client

    @classmethod
    def open(cls) -> Engine:
        """Return the engine that answers.

        Raises:
            NoEngine: there is none.
        """
        try:
            client = docker.from_env(timeout=_CALL_LIMIT_S)
            client.ping()
        except (DockerException, RequestException) as err:
            raise NoEngine(
                f"no container engine answers ({_reason(err)}). Start Docker, or set DOCKER_HOST to one."
            ) from err
        return cls(client)

    def image(self, name: str) -> Image | None:
        """Return the image of that name; None when there is none."""
        try:
            found = self._client.images.get(name)
        except ImageNotFound:
            return None
        return Image(name, found.id, int(found.attrs["Size"]), dict(found.labels))

    def base_digest(self, name: str) -> str | None:
        """Return the registry's digest of an image that was pulled; None for one that was made here."""
        try:
            digests = self._client.images.get(name).attrs.get("RepoDigests") or []
        except ImageNotFound:
            return None
        return digests[0].partition("@")[2] if digests else None

    def build(self, name: str, recipe: Recipe, log: Path) -> Image:
        """Return the image, built with BuildKit, which the command alone speaks to; its words are in ``log``.

        BUILDX_CACHE names a folder of layers to begin with and to leave behind; Buildx's own builder, which
        BUILDX_BUILDER may name, keeps one. Without it the engine's own builder does it.

        Raises:
            UserError: there is no command ``docker``.
            HedonicError: the build failed; the message ends with what it said.
        """
        command = [*_builder(), "--progress=plain", "--tag", name, "--file", str(recipe.file)]
        for key, value in sorted(recipe.labels.items()):
            command += ["--label", f"{key}={value}"]
        for key, value in sorted(recipe.arguments.items()):
            command += ["--build-arg", f"{key}={value}"]
        for key, path in sorted(recipe.secrets.items()):
            command += ["--secret", f"id={key},src={path}"]
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with log.open("w", encoding="utf-8") as told:
                done = subprocess.run(
                    [*command, str(recipe.context)], stdout=told, stderr=told, env=_build_environment(),
                    timeout=_BUILD_LIMIT_S, check=False,
                )  # fmt: skip
        except FileNotFoundError as err:
            raise UserError(
                f"{name}: cannot be built: there is no command `docker`. Install its client."
            ) from err
        built = self.image(name)
        if done.returncode != 0 or built is None:
            end = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
            raise HedonicError(f"{name}: the build ended with {done.returncode}. The end of {log}:\n{end}")
        return built

    def copy_out(self, image: str, path: str, target: Path) -> None:
        """Copy a folder of an image into ``target``; nothing of the image is run."""
        with self._asked(f"{image}: cannot be read"):
            made = self._client.containers.create(image, network_mode="none")
            try:
                stream, _ = made.get_archive(path)
                content = io.BytesIO(b"".join(stream))
            finally:
                made.remove(force=True)
        with tarfile.open(fileobj=content) as archive:
            archive.extractall(target, filter="data")

    def output(self, image: str, command: list[str]) -> bytes:
        """Return what a command prints that runs once in the image, without a network."""
        with self._asked(f"{image}: {command[0]} failed"):
            printed: bytes = self._client.containers.run(
                image, command[1:], entrypoint=command[:1], remove=True, network_mode="none", **HARDENED
            )
        return printed

    def start(
        self, name: str, image: str, *, inside: int, port: int, network: str,
        environment: Mapping[str, str], labels: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Start a container that the engine keeps running, hardened, on a port of this machine's loopback."""
        with self._asked(f"{name}: cannot be started"):
            self._client.containers.run(
                image, name=name, detach=True, ports={f"{inside}/tcp": (_LOCAL, port)}, network=network,
                environment=dict(environment), labels=dict(labels),
                restart_policy={"Name": "unless-stopped"}, **HARDENED,
            )  # fmt: skip

    def container(self, name: str) -> Container | None:
        """Return the container of that name; None when there is none."""
        with self._asked(f"{name}: cannot be looked at"):
            try:
                return _container(self._client.containers.get(name))
            except NotFound:
                return None

    def containers(self, labels: Mapping[str, str]) -> tuple[Container, ...]:
        """Return the containers that carry all these labels, running or not."""
        asked = [f"{key}={value}" for key, value in labels.items()]
        with self._asked("containers cannot be listed"):
            found = self._client.containers.list(all=True, filters={"label": asked}, ignore_removed=True)
        return tuple(_container(one) for one in found)

    def remove(self, name: str, grace_s: int = 0) -> None:
        """Stop and remove the container, which has ``grace_s`` seconds to end what it began."""
        with self._asked(f"{name}: cannot be removed"):
            try:
                found = self._client.containers.get(name)
                if grace_s:
                    found.stop(timeout=grace_s)
                found.remove(force=True)
            except NotFound:
                return

    def log_tail(self, name: str, lines: int = 15) -> str:
        """Return the last lines that a container wrote."""
        with self._asked(f"{name}: its log cannot be read"):
            told: bytes = self._client.containers.get(name).logs(tail=lines)
        return told.decode(errors="replace")

    def keep_network(self, name: str) -> None:
        """Let there be a network of that name, on which containers do not reach each other."""
        with self._asked(f"network {name}: cannot be made"):
            if not self._client.networks.list(names=[f"^{name}$"]):
                alone = {"com.docker.network.bridge.enable_icc": "false"}
                self._client.networks.create(name, driver="bridge", options=alone)

    def remove_network(self, name: str) -> None:
        """Remove the networks of that name, if there are any."""
        with self._asked(f"network {name}: cannot be removed"):
            for network in self._client.networks.list(names=[f"^{name}$"]):
                network.remove()

    def push(self, image: str, repository: str, tag: str) -> str:
        """Return the digest (``sha256:…``) under which a registry has the image now, asked of it again.

        Raises:
            HedonicError: it was not taken, or is not found by that digest.
        """
        where = f"{repository}:{tag}"
        with self._asked(f"{where}: cannot be pushed"):
            self._client.images.get(image).tag(repository, tag)
            lines = list(self._client.images.push(repository, tag=tag, stream=True, decode=True))
            failed = [line["error"] for line in lines if "error" in line]
            digests = [line["aux"]["Digest"] for line in lines if "Digest" in line.get("aux", {})]
            if failed or not digests:
                raise HedonicError(f"{where}: was not taken: {'; '.join(failed) or 'no digest was told'}")
            digest = str(digests[-1])
            self._client.images.get_registry_data(f"{repository}@{digest}")
        return digest

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        """Turn what the engine refuses into our error."""
        try:
            yield
        except (APIError, DockerException, RequestException) as err:
            raise HedonicError(f"{what}: {_reason(err)}") from err


def _container(found: Any) -> Container:
    bound = (found.attrs["HostConfig"].get("PortBindings") or {}).values()
    ports = [int(one["HostPort"]) for binding in bound for one in binding or ()]
    return Container(
        name=found.name,
        image_id=found.attrs["Image"],
        is_running=found.status == "running",
        port=ports[0] if ports else None,
        environment=dict(line.split("=", 1) for line in found.attrs["Config"]["Env"] or () if "=" in line),
    )


def _builder() -> list[str]:
    """Return the command that builds; a cache of layers is read and left by the builder that uses it."""
    cache = os.environ.get("BUILDX_CACHE")
    if not cache:
        return ["docker", "build"]
    kept = [f"--cache-from=type=local,src={cache}", f"--cache-to=type=local,dest={cache},mode=max"]
    return ["docker", "buildx", "build", "--load", *kept]


def _build_environment() -> dict[str, str]:
    """Return what the command needs of our environment, and no secret that is in it by chance."""
    needed = ("PATH", "HOME")
    kept = {k: v for k, v in os.environ.items() if k in needed or k.startswith(_BUILDERS)}
    return {**kept, "DOCKER_BUILDKIT": "1"}


def _reason(err: Exception) -> str:
    """Return the shortest true reason: docker's library wraps three errors in one."""
    told = err.explanation if isinstance(err, APIError) and err.explanation else err
    return str(told).strip().splitlines()[0][:300] if str(told).strip() else type(err).__name__
