"""Following: looking every so often at something that can move, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_logger = logging.getLogger("hedonic.serving")

LONGEST_PAUSE_S = 30.0


class Follower:
    """A daemon thread that calls a check every so often until it is closed.

    What the check raises is logged, once as long as it stays the same, and the check is called again:
    after each failure in a row the pause doubles, up to half a minute, so that a registry that is down
    is not asked five times a second.
    """

    def __init__(self, check: Callable[[], None], every_s: float) -> None:
        """Start calling ``check``, first after ``every_s`` seconds."""
        self._check = check
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hedonic-follower", daemon=True)
        self._thread.start()

    def close(self, limit_s: float = 10.0) -> None:
        """Call the check no more; one that is being worked on is waited for, ``limit_s`` at most."""
        self._over.set()
        self._thread.join(limit_s)

    def _run(self) -> None:
        told, pause_s = "", self._every_s
        while not self._over.wait(pause_s):
            try:
                self._check()
            except Exception as err:  # the edge of the thread: whatever it is, what is served stays
                if str(err) != told:
                    _logger.exception("the look at where the release comes from failed; what is served stays")
                told, pause_s = str(err), min(pause_s * 2, max(LONGEST_PAUSE_S, self._every_s))
            else:
                told, pause_s = "", self._every_s
