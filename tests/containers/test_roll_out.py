"""A roll-out in containers: the next one answers before the old one goes, and a bad one is never seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from hedonic.errors import HedonicError, UserError
from hedonic.images.engine import Engine
from hedonic.port_switch import read_target, target_path
from hedonic.roll_out import forget_containers, start_endpoint
from hedonic.serving.golden import verify_served
from hedonic.settings import Settings
from hedonic.supervisor import stop_all
from tests.callers import Callers, callers
from tests.containers.conftest import Town, docker, name_champion, second_release
from tests.ports import free_port
from tests.tiny_release import ROW

pytestmark = [pytest.mark.container, pytest.mark.slow]

DATASET = "tiny_town"


@pytest.fixture(scope="module")
def settings(town: Town) -> Iterator[Settings]:
    """The town's settings, rolling out containers; nothing of it runs afterwards."""
    settings = town.settings.model_copy(update={"roll_out": "container"})
    yield settings
    stop_all(settings)
    forget_containers(settings)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


def asking(port: int) -> AbstractContextManager[Callers]:
    """Ask all the while, on a new connection each time: one that stays stays with its container."""
    return callers(port, [ROW], number=2, pause_s=0.01, keep_alive=False)


def ours(settings: Settings) -> list[str]:
    return sorted(
        docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=hedonic-{DATASET}").split()
    )


def networks() -> list[str]:
    return docker("network", "ls", "--format", "{{.Name}}").split()


@pytest.fixture(scope="module")
def first(town: Town, settings: Settings, port: int) -> str:
    """The first container that answers on the port, by its name."""
    name_champion(settings, town.release, town.bento)
    endpoint = start_endpoint(settings, DATASET, port)
    assert (endpoint.release, endpoint.url) == (town.release.name, f"http://127.0.0.1:{port}")
    target = read_target(target_path(settings, DATASET))
    assert target is not None
    assert target.container in ours(settings)
    return target.container


def test_it_is_hardened_and_on_loopback_alone(first: str) -> None:
    facts = json.loads(docker("inspect", first))[0]
    host = facts["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["Memory"], host["NanoCpus"]) == (512 * 1024**2, 1_000_000_000)
    assert [one["HostIp"] for binding in host["PortBindings"].values() for one in binding] == ["127.0.0.1"]
    (network,) = facts["NetworkSettings"]["Networks"]
    options = json.loads(docker("network", "inspect", network))[0]["Options"]
    assert options["com.docker.network.bridge.enable_icc"] == "false"


def test_a_champion_that_is_served_already_is_left_alone(first: str, settings: Settings, port: int) -> None:
    pid = start_endpoint(settings, DATASET, port).pid
    assert start_endpoint(settings, DATASET, port).pid == pid
    assert read_target(target_path(settings, DATASET)).container == first


def test_a_container_that_does_not_start_is_removed_and_the_old_one_goes_on(
    first: str, town: Town, settings: Settings, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ours(settings)
    name_champion(settings, *second_release(town))
    monkeypatch.setenv("HEDONIC_GUARD__QUEUE", "many")
    with (
        asking(port) as asked,
        pytest.raises(HedonicError, match="HEDONIC_GUARD__QUEUE: Input should be a valid integer"),
    ):
        start_endpoint(settings, DATASET, port)
    assert ours(settings) == before
    assert asked.failed == []
    assert {one.release for one in asked.told} == {town.release.name}


def test_without_an_engine_it_says_what_is_ready_and_which_command_to_run(
    first: str, settings: Settings, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(UserError, match="no container engine answers") as told:
        start_endpoint(settings, DATASET, port)
    assert "is champion and its bento hedonic-tiny_town:" in str(told.value)
    assert "Then: hedonic serve tiny_town." in str(told.value)
    assert forget_containers(settings) == []
    assert read_target(target_path(settings, DATASET)) is not None  # to be removed when one answers again


def test_the_next_release_replaces_it_without_a_failed_request(
    first: str, town: Town, settings: Settings, port: int, engine: Engine
) -> None:
    release, bento = second_release(town)
    name_champion(settings, release, bento)
    with asking(port) as asked:
        endpoint = start_endpoint(settings, DATASET, port)
        asked.wait_for(10)
    assert endpoint.release == release.name
    assert asked.failed == []
    assert {one.release for one in asked.told} == {town.release.name, release.name}
    assert asked.others(release.name, since=asked.first_at(release.name)) == []
    assert engine.container(first) is None
    assert len(ours(settings)) == 1
    assert verify_served(endpoint.url, release) == 3


def test_a_token_replaces_the_container_and_silence_about_it_opens_no_door(
    first: str, settings: Settings, port: int
) -> None:
    asked = settings.model_copy(update={"api_token": "a-token"})
    before = read_target(target_path(settings, DATASET))
    start_endpoint(asked, DATASET, port)
    target = read_target(target_path(settings, DATASET))
    assert target != before
    with pytest.raises(UserError, match=f"{target.container} asks for a token: set HEDONIC_API_TOKEN"):
        start_endpoint(settings, DATASET, port)
    assert ours(settings) == [target.container]
    forget_containers(settings)


def test_a_process_can_take_the_port_over_and_no_container_is_left(
    first: str, town: Town, settings: Settings, port: int
) -> None:
    start_endpoint(settings, DATASET, port)
    process = settings.model_copy(update={"roll_out": "process"})
    with asking(port) as asked:
        endpoint = start_endpoint(process, DATASET, port)
    assert asked.failed == []
    assert ours(settings) == []
    assert f"hedonic-{hashlib.sha256(str(settings.home).encode()).hexdigest()[:8]}" not in networks()
    assert read_target(target_path(settings, DATASET)) is None
    verify_served(endpoint.url, settings.releases / DATASET / endpoint.release)
