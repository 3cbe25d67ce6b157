"""A Postgres of a session's own, on a loopback port, with a fresh database for each test that asks."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

USER, PASSWORD = "hedonic", "an-unlikely-password"
_START_S = 120.0


class Postgres:
    """A throw-away cluster in a temporary folder."""

    def __init__(self, binaries: Path, folder: Path, account: str | None) -> None:
        """Make the cluster.

        Args:
            binaries: the folder of ``initdb`` and ``postgres``.
            folder: where it lives; belongs to ``account``.
            account: the user it runs as, for it refuses to run as root; None: ourselves.
        """
        from tests.ports import free_port

        self.port = free_port()
        self._binaries, self._folder, self._account = binaries, folder, account
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        password = folder / "password"
        password.write_text(PASSWORD)
        initdb = [
            binaries / "initdb", "-D", folder / "data", "-U", USER, "--pwfile", password,
            "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync",
        ]  # fmt: skip
        subprocess.run(initdb, check=True, capture_output=True, user=account, cwd=folder)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, which may not exist yet."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Delete a database, whoever is still connected to it."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            self._binaries / "postgres", "-D", self._folder / "data", "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self._folder}",
            "-c", "fsync=off",  # nothing here outlives a power cut, and starting again is 10 times faster
        ]  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=self._account, cwd=self._folder
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                told = (self._folder / "log").read_text()[-2000:]
                assert self._process.poll() is None, f"postgres ended while starting: {told}"
                assert time.monotonic() < deadline, f"postgres did not start: {told}"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop it at once, as a crash does; what was committed is there when it starts again."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_START_S)
            self._process = None

    def files(self, url: str) -> bytes:
        """Return all bytes of a database's files; what was written since the last CHECKPOINT may lack."""
        with psycopg.connect(url) as connection:
            found = connection.execute(
                "SELECT oid FROM pg_database WHERE datname = current_database()"
            ).fetchone()
        assert found is not None
        folder = self._folder / "data" / "base" / str(found[0])
        return b"".join(part.read_bytes() for part in folder.iterdir())

    @property
    def running(self) -> bool:
        """Return whether it was started and not stopped since."""
        return self._process is not None

    def freeze(self) -> None:
        """Let it answer nothing, on the connections it has and on new ones, until ``thaw``."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for pid in (self._process.pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):  # a backend that has just ended
                os.kill(pid, number)


def find_binaries() -> Path | None:
    """Return the folder of the newest Postgres on this machine; None where there is none."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return next((folder for folder in reversed(found) if (folder / "postgres").is_file()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a running Postgres; a test that stops it starts it again."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no Postgres on this machine (no initdb): apt-get install postgresql")
    account = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="hedonic-postgres-"))
    try:
        if account is not None:
            shutil.chown(folder, account)
        server = Postgres(binaries, folder, account)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """Return the URL of an empty database of the test's own."""
    url = postgres.new_database()
    yield url
    postgres.drop(url)
