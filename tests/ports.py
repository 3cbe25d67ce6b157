"""Ports of loopback for tests: of each worker its own, each given once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

# Below the ports that Linux gives to outgoing connections and to whoever asks for any: a port from there may
# be somebody else's by the time it is listened on.
_FIRST, _EACH, _SHARES = 14_000, 6_000, 3


def _of_this_worker() -> Iterator[int]:
    """Give the ports of this worker of xdist, or of one that runs alone; each process begins elsewhere."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw2")
    share = int(worker.removeprefix("gw")) % _SHARES
    start = os.getpid() * 37 % _EACH
    for n in range(start, start + _EACH):
        yield _FIRST + share * _EACH + n % _EACH


_ports = _of_this_worker()


def free_port() -> int:
    """Return a port on loopback that nothing listens on now, and that was not given before."""
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
