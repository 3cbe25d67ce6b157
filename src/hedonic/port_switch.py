"""The switch: an endpoint's port stays while the container behind it is replaced by the next.

The supervisor holds the port; this process passes every connection on to the container that a small file
names at that moment. A container that is being started again makes callers wait instead of refusing them.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hedonic.durable_file import write_durably
from hedonic.settings import Settings

_CHUNK = 65_536
_WAIT_S, _AGAIN_S, _END_S = 20.0, 0.1, 10.0
_LOOPBACK = "127.0.0.1"


class Target(BaseModel):
    """The container that a port leads to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    container: str
    image: str
    port: int


def target_path(settings: Settings, dataset: str) -> Path:
    """Return the file that says which container answers for a data set."""
    return settings.serving / f"{dataset}.container.json"


def read_target(path: Path) -> Target | None:
    """Return what the file says; None when there is none, or it cannot be read."""
    try:
        return Target.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write_target(path: Path, target: Target) -> None:
    """Let every new connection lead to this container."""
    write_durably(path, target.model_dump_json() + "\n")


class Switch:
    """Passes connections on to the target of the moment, byte by byte."""

    def __init__(self, path: Path) -> None:
        """Follow the file."""
        self._path = path

    async def serve(self, listening: socket.socket) -> None:
        """Pass connections on until SIGTERM; then wait for those that are open."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, over.set)
        server = await asyncio.start_server(self._accepted, sock=listening)
        await over.wait()
        # Whoever was accepted until now has a task, though perhaps not ours yet. Whoever was not waits in the
        # supervisor's backlog for the next process.
        loop.remove_reader(listening)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                while accepted := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.wait(accepted)
        server.close()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._pass_on(reader, writer)
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind, to_behind = await asyncio.wait_for(self._connected(), _WAIT_S)
        except TimeoutError:
            return
        try:
            await asyncio.gather(_copy(reader, to_behind), _copy(behind, writer))
        finally:
            to_behind.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection to the container, once there is one that takes it."""
        while True:
            target = read_target(self._path)
            if target is not None:
                with contextlib.suppress(OSError):
                    return await asyncio.open_connection(_LOOPBACK, target.port)
            await asyncio.sleep(_AGAIN_S)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Write what comes until it ends; then tell the other side that no more will."""
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(_CHUNK):
            writer.write(part)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def main(arguments: Sequence[str]) -> None:
    """Serve on the socket with this descriptor what this file names."""
    descriptor, path = arguments
    listening = socket.socket(fileno=int(descriptor))
    listening.setblocking(False)
    asyncio.run(Switch(Path(path)).serve(listening))


if __name__ == "__main__":
    main(sys.argv[1:])
