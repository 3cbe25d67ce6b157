"""The supervisor: processes that outlive the command, watched and restarted by circus (which BentoML brings).

One circus daemon a HEDONIC_HOME. It owns the listening sockets, so that a process can be replaced while
callers wait instead of being refused, and an orphan never keeps a port.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import glob
import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from hedonic.errors import HedonicError, UserError
from hedonic.leftovers import MARKER, NAME
from hedonic.settings import Settings

_START_LIMIT_S, _STOP_LIMIT_S, _CALL_LIMIT_S = 90.0, 45.0, 40.0
_POLL_S = 0.1
_BUSY = "arbiter is "  # how circus's refusals begin that are of this moment: "already running", "restarting"
_INTO_LOG = 'exec "$@" >>"$0" 2>&1'


@dataclass(frozen=True, slots=True)
class Process:
    """A process to be kept running.

    Attributes:
        name: of lower-case letters, digits, ``-`` and ``_``.
        arguments: the command; ``$(circus.sockets.<name>)`` in it is the listening socket's descriptor.
        port: on which the supervisor listens for it; None for a process that opens none, or its own.
        environment: beside that of the settings. A change in it restarts the process.
        children_stay: whether what it started goes on when it is killed; else it ends before the next one
            starts.
    """

    name: str
    arguments: tuple[str, ...]
    port: int | None = None
    working_dir: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    children_stay: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """What a process that is kept running is now.

    Attributes:
        pid: None while it does not run.
        definition: digest of what it was told to be: a restart keeps it, a replacement does not.
    """

    pid: int | None
    definition: str


class Supervisor:
    """The circus daemon of one HEDONIC_HOME."""

    def __init__(self, settings: Settings) -> None:
        """Speak for the daemon of ``settings.home``, whether it runs or not."""
        self._settings = settings
        self._folder = settings.home / "supervisor"
        self._processes = self._folder / "processes"
        self._pid_file = self._folder / "circus.pid"
        self._ini = self._folder / "circus.ini"

    def keep(self, process: Process) -> None:
        """Keep ``process`` running from now on, in place of one of the same name that is different.

        Raises:
            UserError: its port is in use by something else, or the folder's path is not one for circus.
            HedonicError: the daemon did not start.
        """
        if glob.escape(str(self._folder)) != str(self._folder):
            raise UserError(
                f"{self._settings.home}: circus, which keeps processes running, takes [, ? and * in a path "
                "for a pattern. Set HEDONIC_HOME to a folder without them."
            )
        with self._alone():
            self._processes.mkdir(parents=True, exist_ok=True)
            self._settings.logs.mkdir(parents=True, exist_ok=True)
            if self.pid() is None:
                self._reap()
                for stale in self._processes.glob("*.ini"):
                    stale.unlink()
            path = self._processes / f"{process.name}.ini"
            if process.port is not None and f"\nport = {process.port}\n" not in _text(path):
                _refuse_used(self._settings.host, process.port)
            _write(path, self._section(process))
            self._apply()

    def drop(self, name: str) -> None:
        """Stop the process of that name, if there is one, and keep it no longer."""
        with self._alone():
            path = self._processes / f"{name}.ini"
            if path.exists():
                path.unlink()
                if self.pid() is not None:
                    self._apply()

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables that the process of that name was given; none when it is not kept running."""
        text = _text(self._processes / f"{name}.ini") if self.pid() is not None else ""
        ini = configparser.RawConfigParser(delimiters=("=",))
        ini.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
        ini.read_string(text)
        section = f"env:{name}"
        given = ini.items(section) if ini.has_section(section) else []
        return {key: value.replace("%%", "%") for key, value in given}

    def running_environment(self, name: str) -> dict[str, str]:
        """Return the variables that the running process of that name has; none when it does not run."""
        pid = self.process_pid(name)
        try:
            return psutil.Process(pid).environ() if pid is not None else {}
        except psutil.Error:  # it ended since
            return {}

    def process_pid(self, name: str) -> int | None:
        """Return the pid of the running process of that name; None when it does not run."""
        if self.pid() is None or not (self._processes / f"{name}.ini").exists():
            return None
        pids = self._pids(name, _CALL_LIMIT_S)
        return pids[0] if pids else None

    def running(self, limit_s: float = 2.0) -> dict[str, Running]:
        """Return what each process that is kept running is now, by name; none without a daemon.

        Raises:
            HedonicError: the daemon did not answer within the limit.
        """
        found = {}
        for name in self.names():
            pids = self._pids(name, limit_s)
            if pids is not None:
                definition = hashlib.sha256(_text(self._processes / f"{name}.ini").encode()).hexdigest()
                found[name] = Running(pids[0] if pids else None, definition)
        return found

    def names(self) -> list[str]:
        """Return the names of the processes that are kept running."""
        return sorted(path.stem for path in self._processes.glob("*.ini")) if self.pid() is not None else []

    def is_abandoned(self) -> bool:
        """Return whether the daemon ended without being asked to, and what it kept running with it."""
        if self.pid() is not None or not self._folder.is_dir():
            return False
        with self._alone():  # a command that is about to stop or start it has ended by then
            return self.pid() is None and any(self._processes.glob("*.ini"))

    def stop(self) -> list[str]:
        """Return the names of the processes that ran, all of them and the daemon now stopped."""
        with self._alone():
            names, pid = self.names(), self.pid()
            if pid is not None:
                daemon = psutil.Process(pid)
                try:
                    self._call("quit", waiting=False)
                except HedonicError:  # it does not listen any more: the signal does the same
                    daemon.terminate()
                try:
                    daemon.wait(_STOP_LIMIT_S)
                except psutil.TimeoutExpired:
                    daemon.kill()
            self._reap()
            shutil.rmtree(self._processes, ignore_errors=True)
            self._pid_file.unlink(missing_ok=True)
            return names

    def pid(self) -> int | None:
        """Return the pid of the running daemon; None when there is none."""
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            process = psutil.Process(int(self._pid_file.read_text()))
            if str(self._ini) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return int(process.pid)
        return None

    def log(self, name: str) -> Path:
        """Return the log of a process."""
        return self._settings.logs / f"{name}.log"

    def _apply(self) -> None:
        """Make the daemon do what the files say, starting it first if need be."""
        if self.pid() is not None:
            self._call("reloadconfig", waiting=True)
            return
        control = self._control_folder()
        lines = [
            "[circus]",
            f"endpoint = ipc://{control}/control",
            f"pubsub_endpoint = ipc://{control}/events",
            "multicast_endpoint =",  # by default circus listens for others on the network
            "check_delay = 1",
            f"logoutput = {self.log('supervisor')}",
            # Beside the file, by its name alone: circus takes a path with a space for two.
            f"include_dir = {self._processes.name}",
        ]
        _write(self._ini, "\n".join(lines).replace("%", "%%") + "\n")
        command = [sys.executable, "-m", "circus.circusd", "--daemon", "--pidfile", str(self._pid_file)]
        environment = {**os.environ, **self._settings.environment(), MARKER: str(self._settings.home)}
        subprocess.run([*command, str(self._ini)], env=environment, cwd=self._settings.home, check=False)
        deadline = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(HedonicError):
                if self.pid() is not None and self._call("numwatchers", limit_s=1.0)["status"] == "ok":
                    return
            time.sleep(_POLL_S)
        raise HedonicError(
            f"the supervisor did not start in {_START_LIMIT_S:.0f} s; see {self.log('supervisor')}"
        )

    def _section(self, process: Process) -> str:
        """Return the process as circus reads it."""
        name = process.name
        words = [w if w.startswith("$(circus.") else shlex.quote(w) for w in process.arguments]
        environment = {
            **self._settings.environment(),
            **process.environment,
            MARKER: str(self._settings.home),
            NAME: name,
        }
        if process.port is not None:
            environment["PORT"] = str(process.port)
        lines = [
            f"[watcher:{name}]",
            # Into its log by itself: circus would read it through a pipe, and ends all processes when two
            # of them die at once and a descriptor is reused.
            "cmd = /bin/sh",
            f"args = -c {shlex.quote(_INTO_LOG)} {shlex.quote(str(self.log(name)))} {' '.join(words)}",
            f"working_dir = {process.working_dir or self._settings.root}",
            "copy_env = True",
            "use_sockets = True",
            "stop_children = True",
            "graceful_timeout = 20",
            *(
                ()
                if process.children_stay
                else ("hooks.before_spawn = hedonic.leftovers.end_leftovers,True",)
            ),
            f"[env:{name}]",
            *(f"{key} = {value}" for key, value in sorted(environment.items())),
        ]
        if process.port is not None:
            lines += [f"[socket:{name}]", f"host = {self._settings.host}", f"port = {process.port}"]
        return "\n".join(lines).replace("%", "%%") + "\n"

    def _pids(self, name: str, limit_s: float) -> list[int] | None:
        """Return the pids of a process; None where the daemon knows none, as amid its replacement."""
        try:
            return self._call("list", name=name, limit_s=limit_s).get("pids") or []
        except HedonicError as err:
            if f"program {name} not found" in str(err):
                return None
            raise

    def _call(self, command: str, *, limit_s: float = _CALL_LIMIT_S, **properties: Any) -> dict[str, Any]:
        """Return the daemon's answer to a circus command.

        A daemon that is in the middle of something, its own start and its look at the processes each second
        among them, refuses a command rather than keeping it waiting: it is asked again within the limit.
        """
        from circus.client import CircusClient
        from circus.exc import CallError

        client = CircusClient(endpoint=f"ipc://{self._control_folder()}/control", timeout=limit_s)
        deadline = time.monotonic() + limit_s
        try:
            while True:
                answer: dict[str, Any] = client.send_message(command, **properties)
                if answer.get("status") != "error":
                    return answer
                reason = str(answer.get("reason"))
                if not reason.startswith(_BUSY) or time.monotonic() > deadline:
                    raise HedonicError(f"the supervisor refused {command!r}: {reason}")
                time.sleep(_POLL_S)
        except CallError as err:
            raise HedonicError(f"the supervisor does not answer {command!r}: {err}") from err
        finally:
            client.stop()

    def _control_folder(self) -> Path:
        """Return the private folder of the control sockets; their paths may have 107 characters at most."""
        folder = self._folder / "control"
        if len(str(folder)) > 90:
            mark = hashlib.sha256(str(self._folder).encode()).hexdigest()[:12]
            folder = Path(tempfile.gettempdir()) / f"hedonic-{os.getuid()}-{mark}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise UserError(
                f"{folder}: belongs to someone else. Remove it, or set HEDONIC_HOME to a shorter path."
            )
        return folder

    def _reap(self) -> None:
        """End what a killed daemon left behind: nobody else would, and it holds its port."""
        left = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARKER) == str(self._settings.home) and process.pid != os.getpid():
                    process.terminate()
                    left.append(process)
        stubborn = psutil.wait_procs(left, timeout=20)[1]
        for process in stubborn:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(stubborn, timeout=20)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock that lets one command at a time change what runs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def stop_all(settings: Settings) -> list[str]:
    """Return the names of the processes that ran; all are stopped now."""
    return Supervisor(settings).stop()


def port_owner(host: str, port: int) -> str | None:
    """Return who listens on a port, as far as we may see it; None when it is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            return None
        except OSError:
            with contextlib.suppress(psutil.Error):
                for connection in psutil.net_connections("tcp"):
                    if connection.status == "LISTEN" and connection.laddr.port == port and connection.pid:
                        return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            return "another program"


def log_tail(log: Path, lines: int = 15) -> str:
    """Return the end of a log, for an error message."""
    if not log.is_file():
        return f"It wrote no log ({log})."
    told = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return f"The end of {log}:\n" + "\n".join(told)


def _refuse_used(host: str, port: int) -> None:
    """Refuse a port on which someone listens already."""
    owner = port_owner(host, port)
    if owner is not None:
        raise UserError(
            f"port {port} on {host}: in use by {owner}. Stop it, or give another port "
            "(`serve.port` in the contract, or --port)."
        )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _write(path: Path, text: str) -> None:
    """Write under another name, then rename: the daemon reads the old file or the new."""
    scratch = path.with_suffix(".new")
    scratch.touch(mode=0o600)  # a process's variables may hold its token
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
