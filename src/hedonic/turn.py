"""The turn to train a data set: one process of a HEDONIC_HOME has it at a time."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from pathlib import Path

logger = logging.getLogger("hedonic.turn")

_held: dict[Path, int] = {}


class Turn:
    """The right to train a data set.

    Prefect keeps runs of our deployments apart by its own limits. This holds for a run at the command line
    too, and for a run that Prefect takes for crashed and starts again while its process still lives. The
    kernel ends the turn of a process that is killed.
    """

    def __init__(self, home: Path, dataset: str) -> None:
        """Name the data set; nobody's turn changes yet."""
        self._path = home / "turns" / f"{dataset}.lock"

    def take(self) -> None:
        """Return once it is this process's turn; at once where it is already."""
        holder = self.take_if_free()
        if holder is None:
            return
        logger.info("%s is in training by process %s; waiting for its end", self._path.stem, holder)
        handle = self._opened()
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._hold(handle)

    def take_if_free(self) -> str | None:
        """Return None now that it is this process's turn; otherwise the id of the process that has it."""
        if self._path in _held:
            return None
        handle = self._opened()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            return holder
        self._hold(handle)
        return None

    def end(self) -> None:
        """Let the next one have its turn; nothing where it was not this process's."""
        handle = _held.pop(self._path, None)
        if handle is not None:
            os.close(handle)

    def _opened(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)

    def _hold(self, handle: int) -> None:
        os.ftruncate(handle, 0)
        with contextlib.suppress(OSError):  # a full disk: only the message would tell less
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        _held[self._path] = handle
