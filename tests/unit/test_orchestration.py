"""Which API a run reports to, and what the terminal hears of its steps."""

from __future__ import annotations

import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hedonic import orchestration
from hedonic.errors import HedonicError, UserError
from hedonic.orchestration import (
    StepMessage,
    choose_api,
    find_callable,
    is_healthy,
    set_environment,
    start_server,
)
from hedonic.settings import Settings
from tests.ports import free_port
from tests.waiting import wait_for


class Server(BaseHTTPRequestHandler):
    status, body, asked = 200, b"true", ""

    def do_GET(self):
        type(self).asked = self.path
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("Fresh", (Server,), {})
    listening = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    handler.port = listening.server_port
    yield handler
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture
def nobody():
    return free_port()


def settings(tmp_path, port) -> Settings:
    return Settings(home=tmp_path / ".hedonic", root=tmp_path, ports={"prefect": port})


def test_a_healthy_server_on_the_configured_port_is_used(tmp_path, server):
    assert choose_api(settings(tmp_path, server.port), None) == f"http://127.0.0.1:{server.port}/api"
    assert server.asked == "/api/health"


def test_with_no_server_a_run_is_in_process(tmp_path, nobody):
    assert choose_api(settings(tmp_path, nobody), None) is None


def test_the_address_that_hedonic_env_prints_obliges_nobody_to_start_a_server(tmp_path, nobody):
    ours = f"http://127.0.0.1:{nobody}/api"
    assert choose_api(settings(tmp_path, nobody), ours) is None
    assert choose_api(settings(tmp_path, nobody), ours + "/") is None


def test_the_users_own_api_comes_first(tmp_path, server, nobody):
    own = f"http://localhost:{server.port}/api"
    assert choose_api(settings(tmp_path, nobody), own) == own


def test_the_users_own_api_must_be_there(tmp_path, server, nobody):
    own = f"http://localhost:{nobody}/api"
    with pytest.raises(
        UserError, match=f"PREFECT_API_URL={own}: nothing listens there. Start that server, or"
    ):
        choose_api(settings(tmp_path, server.port), own)


@pytest.mark.parametrize(("status", "body"), [(503, b"true"), (200, b"false"), (200, b"<html>")])
def test_another_program_on_the_port_is_not_a_healthy_server(server, status, body):
    server.status, server.body = status, body
    assert not is_healthy(f"http://127.0.0.1:{server.port}/api")


def test_without_an_api_prefect_is_told_to_run_in_process(tmp_path):
    environment = {"PREFECT_API_URL": "http://gone/api"}
    set_environment(environment, None, debug=False)
    assert "PREFECT_API_URL" not in environment
    assert environment["PREFECT_SERVER_EPHEMERAL_ENABLED"] == "true"
    assert environment["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] == "CRITICAL"
    assert environment["MLFLOW_LOGGING_LEVEL"] == "WARNING"


def test_with_an_api_prefect_is_told_which_and_debug_shows_all():
    environment = {}
    set_environment(environment, "http://there/api", debug=True)
    assert environment == {"PREFECT_API_URL": "http://there/api"}


def test_an_entry_point_is_found_from_the_root_before_any_distribution(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "__init__.py").write_text("")
    (tmp_path / "drawn" / "line.py").write_text("def train(): return 7\n")
    assert find_callable(tmp_path, "drawn/line.py:train")() == 7
    assert sys.path[0] == str(tmp_path)
    find_callable(tmp_path, "drawn/line.py:train")
    assert sys.path.count(str(tmp_path)) == 1
    for entrypoint in ("drawn/missing.py:train", "drawn/line.py:train2"):
        file, name = entrypoint.split(":")
        with pytest.raises(UserError, match=rf"{file}: no {name} there: the project's folder is not whole"):
            find_callable(tmp_path, entrypoint)


def test_what_a_step_logs_becomes_messages_until_it_ends():
    heard = []
    logger = logging.getLogger("prefect.task_runs")
    logger.setLevel(logging.INFO)
    with orchestration._watched(heard.append):
        logger.info("read %d rows", 5, extra={"task_name": "ingest"})
        logger.debug("not for people", extra={"task_name": "ingest"})
        logger.info("Finished in state Cached(type=COMPLETED)", extra={"task_name": "ingest"})
    logger.info("after", extra={"task_name": "ingest"})
    assert heard == [
        StepMessage("ingest", logging.INFO, "read 5 rows", None),
        StepMessage(
            "ingest", logging.INFO, "Finished in state Cached(type=COMPLETED)", "Cached(type=COMPLETED)"
        ),
    ]


@pytest.mark.slow
def test_a_run_in_process_does_not_take_another_server_for_its_own(server, monkeypatch, tmp_path):
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import (
        PREFECT_API_DATABASE_CONNECTION_URL,
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
        temporary_settings,
    )

    ports = iter([server.port, free_port()])
    monkeypatch.setattr(SubprocessASGIServer, "find_available_port", lambda _: next(ports))
    monkeypatch.setattr(SubprocessASGIServer, "_instances", {})
    database = f"sqlite+aiosqlite:///{tmp_path}/prefect.db"
    given = {
        PREFECT_API_DATABASE_CONNECTION_URL: database,
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 600,
    }
    with temporary_settings(given):
        api = start_server()
        try:
            assert server.asked == "/api/health", "the other server was asked first"
            assert not api.endswith(f":{server.port}/api")
            wait_for(lambda: is_healthy(api), "it is healthy")
        finally:
            SubprocessASGIServer().stop()


def test_servers_that_never_get_their_port_are_told(monkeypatch):
    class Robbed:
        server_process, port = None, None

        def start(self):
            pass

        def stop(self):
            pass

    monkeypatch.setattr("prefect.server.api.server.SubprocessASGIServer", Robbed)
    with pytest.raises(HedonicError, match="did not get a port in 5 starts"):
        start_server()
