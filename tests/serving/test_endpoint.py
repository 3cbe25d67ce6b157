"""The supervised endpoint: it outlives the command, follows the pointer, and comes back."""

import configparser
import json
import os
import shutil
import signal
import socket
import stat
import time
from dataclasses import replace

import psutil
import pytest
from circus.client import CircusClient

from hedonic.endpoint import bento_folder, endpoint_state, start_endpoint, stop_endpoint
from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.model.manifest import Golden
from hedonic.promotion.bento import (
    FILES,
    RECIPE,
    bento_code,
    build_bento,
    list_files,
    served_sources,
    stored_bento,
)
from hedonic.promotion.release import write_release
from hedonic.settings import Settings
from hedonic.supervisor import Process, Supervisor, log_tail, stop_all
from tests.kept_home import kept_home, made_bento
from tests.ports import free_port
from tests.serving.conftest import ROOT, Served, crown
from tests.tiny_release import ROW, tiny_content, tiny_model, tiny_release
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path, monkeypatch):
    home = tmp_path / "a town" / ".hedonic"
    home.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    settings = Settings(root=ROOT, home=home)
    yield settings
    stop_all(settings)


def copied_project(folder):
    """Return a project that holds what is served and nothing else."""
    for path in (*served_sources(ROOT), RECIPE):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, folder / path)
    (folder / "requirements-serve.txt").write_text("bentoml==1.4.39\n")
    return folder


def wrong_release(store):
    """Return a release that is what its manifest says, and whose golden rows are answered otherwise."""
    content = tiny_content()
    answers = tuple({**answer, "estimate": 1.0} for answer in content.golden.answers)
    return write_release(
        store, replace(content, golden=Golden(instances=content.golden.instances, answers=answers))
    )


def test_an_endpoint_serves_its_champion_until_it_is_stopped(settings):
    port, release = free_port(), tiny_release(settings.home / "releases")
    crown(settings.home, release)
    endpoint = start_endpoint(settings, "tiny_town", port)
    assert (endpoint.release, endpoint.bento) == (release.name, None)
    assert wait_for(lambda: endpoint_state(settings, "tiny_town", port)) == endpoint

    again = start_endpoint(settings, "tiny_town", port)
    assert again.pid == endpoint.pid  # what serves the champion already is left alone
    metrics = Served(port, release, settings.logs).ask("GET", "/metrics").body.decode()
    assert 'bentoml_service_request_total{endpoint="/predict"' in metrics  # and so are its counters

    os.kill(endpoint.pid, signal.SIGKILL)  # a dead worker is replaced
    state = wait_for(lambda: endpoint_state(settings, "tiny_town", port))
    assert (state.release, state.pid != endpoint.pid) == (release.name, True)

    better = tiny_release(settings.home / "releases", tiny_model(seed=5))
    crown(settings.home, better)
    swapped = start_endpoint(settings, "tiny_town", port)
    assert (swapped.release, swapped.pid) == (better.name, state.pid)  # a new champion is taken in place
    answer = Served(port, better, settings.logs).predict(ROW)
    assert answer.json["model"]["release"] == better.name

    assert stop_all(settings) == ["endpoint-tiny_town"]
    assert endpoint_state(settings, "tiny_town", port) is None
    assert not psutil.pid_exists(swapped.pid)
    assert stop_all(settings) == []


def test_an_endpoint_serves_the_bento_that_its_pointer_names(settings, tmp_path):
    project = copied_project(tmp_path / "project")
    port, release = free_port(), tiny_release(settings.home / "releases")
    bento = build_bento(project, release, settings.bentos, promoted=True)
    crown(settings.home, release, bento.tag)
    endpoint = start_endpoint(settings, "tiny_town", port)
    assert (endpoint.release, endpoint.bento) == (release.name, bento.tag)
    info = Served(port, release, settings.logs).ask("GET", "/model/info").json
    assert (info["bento"], info["code"]) == (bento.tag, bento_code(bento.folder))
    assert info["source"] == {"uri": "champion:tiny_town", "kind": "champion", "baked": release.name}

    os.kill(Supervisor(settings).pid(), signal.SIGKILL)  # what it leaves behind does not keep the port
    wait_for(lambda: Supervisor(settings).pid() is None)
    back = start_endpoint(settings, "tiny_town", port)
    assert back.pid != endpoint.pid
    assert not psutil.pid_exists(endpoint.pid)

    stop_endpoint(settings, "tiny_town")
    assert endpoint_state(settings, "tiny_town", port) is None


def test_another_champion_of_the_same_code_is_taken_in_place_and_of_other_code_by_another_process(
    settings, tmp_path
):
    project, port = copied_project(tmp_path / "project"), free_port()
    releases = [tiny_release(settings.home / "releases", tiny_model(seed=seed)) for seed in range(3)]
    first, second = (
        build_bento(project, release, settings.bentos, promoted=True) for release in releases[:2]
    )
    crown(settings.home, releases[0], first.tag)
    before = start_endpoint(settings, "tiny_town", port)
    crown(settings.home, releases[1], second.tag)
    after = start_endpoint(settings, "tiny_town", port)
    assert after == replace(before, release=releases[1].name)
    assert wait_for(lambda: endpoint_state(settings, "tiny_town", port)) == after
    info = Served(port, releases[1], settings.logs).ask("GET", "/model/info").json
    assert (info["model"]["release"], info["source"]["baked"]) == (releases[1].name, releases[0].name)

    (project / "src" / "hedonic" / "errors.py").open("a").write("# other code\n")
    third = build_bento(project, releases[2], settings.bentos, promoted=True)
    crown(settings.home, releases[2], third.tag)
    replaced = start_endpoint(settings, "tiny_town", port)
    assert (replaced.release, replaced.bento) == (releases[2].name, third.tag)
    assert replaced.pid != before.pid


def test_a_bad_champion_is_refused_with_its_reason_and_the_endpoint_goes_on(settings):
    port, release = free_port(), tiny_release(settings.home / "releases")
    crown(settings.home, release)
    before = start_endpoint(settings, "tiny_town", port)
    bad = wrong_release(settings.home / "releases")
    for _ in range(2):  # the second time it is looked at again, and refused again
        crown(settings.home, bad)
        started = time.monotonic()
        with pytest.raises(
            ReleaseRefused, match=f"release {release.name[:16]} is still served: .*golden answ"
        ):
            start_endpoint(settings, "tiny_town", port)
        assert time.monotonic() - started < 80  # of the 90 s that a start may take
        assert wait_for(lambda: endpoint_state(settings, "tiny_town", port)) == before
    served = Served(port, release, settings.logs)
    assert served.ask("GET", "/model/info").json["refused"]["release"] == bad.name
    assert 'hedonic_rollouts_total{outcome="refused"}' in served.ask("GET", "/metrics").body.decode()
    crown(settings.home, release)  # back
    assert start_endpoint(settings, "tiny_town", port) == before
    wait_for(lambda: served.ask("GET", "/model/info").json["refused"] is None)


def test_a_release_that_is_mended_is_taken_when_it_is_asked_for_again(settings):
    port, release = free_port(), tiny_release(settings.home / "releases")
    crown(settings.home, release)
    before = start_endpoint(settings, "tiny_town", port)
    better = tiny_release(settings.home / "releases", tiny_model(seed=5))
    golden = better / "golden.json"
    whole = golden.read_text()
    golden.write_text("{}")
    crown(settings.home, better)
    served = Served(port, release, settings.logs)
    wait_for(lambda: served.ask("GET", "/model/info").json["refused"])
    golden.write_text(whole)
    assert start_endpoint(settings, "tiny_town", port) == replace(before, release=better.name)


def test_without_a_champion_nothing_is_started(settings):
    with pytest.raises(UserError, match="no champion to serve yet"):
        start_endpoint(settings, "tiny_town", free_port())
    assert Supervisor(settings).pid() is None


def test_a_damaged_release_is_not_started(settings):
    release = tiny_release(settings.home / "releases")
    crown(settings.home, release)
    (release / "golden.json").write_text("{}")
    with pytest.raises(ReleaseRefused, match=r"golden.json: changed"):
        start_endpoint(settings, "tiny_town", free_port())
    assert Supervisor(settings).pid() is None


def test_a_bento_that_is_gone_is_not_quietly_replaced_by_something_else(settings):
    crown(settings.home, tiny_release(settings.home / "releases"), "hedonic-tiny_town:0123456789abcdef")
    with pytest.raises(ReleaseRefused, match="bento hedonic-tiny_town:0123456789abcdef: not in"):
        start_endpoint(settings, "tiny_town", free_port())


@pytest.mark.parametrize("name", ["src/hedonic/a.py", "env/docker/Dockerfile", "bento.yaml"])
def test_a_bento_with_a_changed_byte_is_not_started(settings, name):
    release = tiny_release(settings.home / "releases")
    tag = made_bento(settings, release.name)
    crown(settings.home, release, tag)
    (stored_bento(settings.bentos, tag) / name).open("a").write(" ")
    with pytest.raises(ReleaseRefused, match=f"bento {tag}: {name}: changed"):
        start_endpoint(settings, "tiny_town", free_port())
    assert Supervisor(settings).pid() is None


def planted(folder):
    """Plant a module under the name of one that BentoML imports, and list it as if it belonged there."""
    (folder / "click.py").write_text("print('planted')\n")
    (folder / FILES).write_text(list_files(folder))


SPOILT = {
    "a list that was written again": (planted, "its files have sha256 .*, the history recorded"),
    "no list": (lambda folder: (folder / FILES).unlink(), f"{FILES}: missing, and the history recorded"),
    "compiled code": (lambda folder: (folder / "click.pyc").write_bytes(b"x"), "click.pyc: not in"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_bento_is_started_only_as_the_history_recorded_it(tmp_path, how):
    spoil, told = SPOILT[how]
    settings, (champion,) = kept_home(tmp_path, n=1)
    folder = bento_folder(settings, champion.bento)
    spoil(folder)
    with pytest.raises(ReleaseRefused, match=told):
        start_endpoint(settings, "tiny_town", free_port())
    assert Supervisor(settings).pid() is None


def test_a_module_beside_the_service_is_not_imported_in_place_of_one_that_is_installed(settings, tmp_path):
    project = copied_project(tmp_path / "project")
    port, release = free_port(), tiny_release(settings.home / "releases")
    bento = build_bento(project, release, settings.bentos, promoted=True)
    (bento.folder / FILES).unlink()  # one of before bentos listed their files
    (bento.folder / "click.py").write_text("raise SystemExit('planted code ran')\n")
    crown(settings.home, release, bento.tag)
    assert start_endpoint(settings, "tiny_town", port).bento == bento.tag


def test_a_port_in_use_is_named_with_what_to_do(settings):
    crown(settings.home, tiny_release(settings.home / "releases"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} on 127.0.0.1: in use by .* Stop it, or"):
            start_endpoint(settings, "tiny_town", port)


def test_a_process_that_ends_while_starting_is_told_with_the_end_of_its_log(settings):
    crown(settings.home, wrong_release(settings.home / "releases"))
    with pytest.raises(HedonicError, match="(?s)ended while starting.*3 golden answers differ"):
        start_endpoint(settings, "tiny_town", free_port())
    assert Supervisor(settings).names() == []


def test_processes_of_one_home_are_kept_side_by_side_and_nothing_listens_beyond_loopback(settings):
    supervisor = Supervisor(settings)
    ports = [free_port(), free_port()]
    for n, port in enumerate(ports):
        supervisor.keep(Process(name=f"sleeper-{n}", arguments=("/bin/sleep", "1000"), port=port))
    assert supervisor.names() == ["sleeper-0", "sleeper-1"]
    pids = [supervisor.process_pid(name) for name in supervisor.names()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    assert supervisor.running_environment("sleeper-0")["HEDONIC_HOME"] == str(settings.home)
    assert supervisor.running_environment("nobody") == {}
    daemon = psutil.Process(supervisor.pid())
    addresses = {connection.laddr.ip for connection in daemon.net_connections("inet")}
    assert addresses == {"127.0.0.1"}
    supervisor.drop("sleeper-0")
    assert supervisor.names() == ["sleeper-1"]
    assert supervisor.process_pid("sleeper-1") == pids[1]
    assert not psutil.pid_exists(pids[0])


def test_a_process_that_another_command_is_replacing_runs_not_at_the_moment(settings):
    supervisor = Supervisor(settings)
    supervisor.keep(Process(name="sleeper", arguments=("/bin/sleep", "1000")))
    processes = settings.home / "supervisor" / "processes"
    shutil.copy(processes / "sleeper.ini", processes / "replaced.ini")  # which the daemon has not read yet
    assert supervisor.process_pid("replaced") is None
    assert supervisor.running().keys() == {"sleeper"}


def test_a_home_whose_path_circus_would_take_for_a_pattern_is_refused_with_the_remedy(settings):
    elsewhere = settings.model_copy(update={"home": settings.home.with_name("a[1]")})
    with pytest.raises(UserError, match="Set HEDONIC_HOME to a folder without them"):
        Supervisor(elsewhere).keep(Process(name="sleeper", arguments=("/bin/sleep", "1000")))
    assert not elsewhere.home.exists()


def test_a_daemon_that_is_in_the_middle_of_something_is_asked_again(settings):
    supervisor = Supervisor(settings)
    slow_to_end = "trap 'sleep 10; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    supervisor.keep(Process(name="slow", arguments=("/bin/sh", "-c", slow_to_end)))
    wait_for(lambda: "ready" in log_tail(supervisor.log("slow")))
    ini = configparser.RawConfigParser()
    ini.read(settings.home / "supervisor" / "circus.ini")
    client = CircusClient(endpoint=ini["circus"]["endpoint"])
    try:
        # The process runs a moment before its start is over.
        wait_for(lambda: client.send_message("restart", name="slow", waiting=False)["status"] == "ok")
        refused = client.send_message("reloadconfig", waiting=True)
    finally:
        client.stop()
    assert refused["status"] == "error"  # so circus answers a command that comes meanwhile
    supervisor.keep(Process(name="sleeper", arguments=("/bin/sleep", "1000")))
    assert supervisor.process_pid("sleeper") is not None


def test_an_endpoint_behind_a_token_is_verified_and_told_with_it(settings, monkeypatch):
    monkeypatch.setenv("HEDONIC_API_TOKEN", "first,second")
    guarded = Settings(root=settings.root, home=settings.home)
    release = tiny_release(settings.home / "releases")
    crown(settings.home, release)
    port = free_port()
    endpoint = start_endpoint(guarded, "tiny_town", port)
    assert endpoint.release == release.name
    assert wait_for(lambda: endpoint_state(guarded, "tiny_town", port)) == endpoint
    served = Served(port, release, settings.home / "log")
    assert served.predict(ROW).status == 401

    def allowed(token):
        body = json.dumps({"instances": [ROW]}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        return served.ask("POST", "/predict", body, headers).status == 200

    monkeypatch.setenv("HEDONIC_API_TOKEN", "second,third")  # the token is replaced
    start_endpoint(Settings(root=settings.root, home=settings.home), "tiny_town", port)
    assert [allowed(token) for token in ("first", "second", "third")] == [False, True, True]
    kept = settings.home / "supervisor" / "processes" / "endpoint-tiny_town.ini"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    monkeypatch.delenv("HEDONIC_API_TOKEN")  # who does not know it opens no door
    with pytest.raises(HedonicError):
        start_endpoint(Settings(root=settings.root, home=settings.home), "tiny_town", port, limit_s=3)
    assert served.predict(ROW).status == 401
