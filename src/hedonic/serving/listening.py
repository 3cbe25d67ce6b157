"""Where a process listens: the sockets that it was given, and whether others reach them."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path


def listening_hosts() -> frozenset[str]:
    """Return the addresses on which this process holds a listening TCP socket."""
    return frozenset(_hosts())


def is_loopback(host: str) -> bool:
    """Return whether what listens on this address or name is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _hosts() -> Iterator[str]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
            held = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:  # closed meanwhile
            continue
        with held:
            inet = held.family in (socket.AF_INET, socket.AF_INET6) and held.type == socket.SOCK_STREAM
            if inet and held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield held.getsockname()[0]
