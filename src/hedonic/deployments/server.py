"""The server of this machine: Prefect's own, which collects its garbage in a thread of its own.

``hedonic up`` keeps it running as ``python -m hedonic.deployments.server``. A statement that SQLite refused
is freed with the traceback of its error, whenever Python collects garbage. Where that is the thread of the
event loop, and the statement's connection is in use again and waits for a lock that a coroutine of that loop
holds, nothing moves until SQLite gives up after a minute: no request, no heartbeat, and runs that live are
taken for lost.
"""

from __future__ import annotations

import gc
import itertools
import runpy
import sys
import threading
import time

_YOUNG_EVERY_S = 0.5
_ALL_EVERY = 60  # times that of the young: what is old is much, and seldom garbage


def collect_aside(every_s: float = _YOUNG_EVERY_S, all_every: int = _ALL_EVERY) -> None:
    """Let garbage be collected by a thread of its own from now on, for as long as the process lives.

    Args:
        every_s: between two collections of what is young.
        all_every: of so many collections, one is of everything.
    """

    def collect() -> None:
        for n in itertools.count(1):
            time.sleep(every_s)
            gc.collect(2 if n % all_every == 0 else 1)
            if n == all_every:
                gc.freeze()  # the program itself: to look through it each time would hold all others up

    gc.disable()
    threading.Thread(target=collect, name="garbage", daemon=True).start()


def main() -> None:
    """Be Prefect's server until SIGTERM or SIGINT."""
    collect_aside()
    sys.argv = ["prefect", "server", "start", *sys.argv[1:]]
    runpy.run_module("prefect", run_name="__main__")


if __name__ == "__main__":
    main()
