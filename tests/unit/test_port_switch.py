"""The switch: bytes go to whatever the file names when a connection is made."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from hedonic.port_switch import Target, read_target, write_target
from tests.ports import free_port
from tests.project import ROOT

LIMIT_S = 60


class Echo:
    """A server that answers each connection with its name and what it was sent, once the caller is done."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.taken = threading.Event()
        self.held = threading.Event()
        self.held.set()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.taken.set()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection:
            got = b"".join(iter(lambda: connection.recv(65536), b""))
            self.held.wait(LIMIT_S)
            connection.sendall(self.name + b":" + got)


@pytest.fixture
def servers():
    servers = [Echo(b"old"), Echo(b"new")]
    yield servers
    for one in servers:
        one.socket.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "town.container.json"


@pytest.fixture
def listening():
    """Return the socket, which outlives a switch as it does under the supervisor."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@contextlib.contextmanager
def switching(listening, path):
    """Give the process of a running switch."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hedonic.port_switch", str(listening.fileno()), str(path)],
        pass_fds=[listening.fileno()], env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(LIMIT_S)


@pytest.fixture
def switch(listening, path):
    """Return the port of a running switch, and its process."""
    with switching(listening, path) as process:
        yield listening.getsockname()[1], process


def lead_to(path, port):
    write_target(path, Target(container="c", image="i", port=port))


def asked(port, content=b"hello"):
    """Return the connection on which it was asked."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
    connection.sendall(content)
    connection.shutdown(socket.SHUT_WR)
    return connection


def answer_on(connection):
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def ask(port, content=b"hello"):
    return answer_on(asked(port, content))


def test_a_connection_goes_to_the_target_of_its_moment_and_stays_there(switch, path, servers):
    (port, _), (old, new) = switch, servers
    lead_to(path, old.port)
    assert ask(port) == b"old:hello"
    old.taken.clear()
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as begun:
        begun.sendall(b"half ")
        assert old.taken.wait(LIMIT_S)
        lead_to(path, new.port)
        assert ask(port) == b"new:hello"
        begun.sendall(b"and half")
        begun.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: begun.recv(65536), b"")) == b"old:half and half"


def test_large_bodies_pass_whole_both_ways(switch, path, servers):
    lead_to(path, servers[0].port)
    body = os.urandom(5_000_000)
    assert ask(switch[0], body) == b"old:" + body


def test_while_nothing_listens_a_caller_waits_instead_of_being_refused(switch, path, servers):
    lead_to(path, free_port())
    answers = []
    caller = threading.Thread(target=lambda: answers.append(ask(switch[0])))
    caller.start()
    lead_to(path, servers[1].port)
    caller.join(LIMIT_S)
    assert answers == [b"new:hello"]


def test_at_its_end_what_is_open_is_answered_first(switch, path, servers):
    (port, process), (old, _) = switch, servers
    lead_to(path, old.port)
    old.held.clear()
    answers = []
    caller = threading.Thread(target=lambda: answers.append(ask(port)))
    caller.start()
    assert old.taken.wait(LIMIT_S)
    process.send_signal(signal.SIGTERM)
    old.held.set()
    caller.join(LIMIT_S)
    assert answers == [b"old:hello"]
    assert process.wait(LIMIT_S) == 0


def test_who_comes_at_the_moment_of_its_end_is_answered_by_it_or_by_the_next(
    switch, listening, path, servers
):
    (port, process), (old, _) = switch, servers
    lead_to(path, old.port)
    assert ask(port) == b"old:hello"  # it runs
    process.send_signal(signal.SIGSTOP)
    callers = [asked(port) for _ in range(20)]
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert process.wait(LIMIT_S) == 0
    with switching(listening, path):
        assert {answer_on(caller) for caller in callers} == {b"old:hello"}


def test_a_file_that_is_not_there_or_not_whole_names_nothing(path):
    assert read_target(path) is None
    path.write_text("{")
    assert read_target(path) is None
