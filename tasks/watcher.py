"""The watcher: a daemon that sees at once when a source's content or the checked-out code changes.

Run it from the project's folder as ``python -m tasks.watcher``; ``hedonic up`` keeps it running.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from watchfiles import watch

from hedonic.data.contract import Contract
from hedonic.errors import HedonicError
from hedonic.settings import Settings, load_settings
from hedonic.watching.code import look_at_code
from hedonic.watching.event import Emit
from hedonic.watching.look import look_at
from hedonic.watching.watched import Contracts, folders, sources

logger = logging.getLogger("hedonic.watch")

_LONGEST_BURST = 10


class Watcher:
    """Looks at every local source and at the repository's head, when something moves there.

    Attributes:
        n_looks: how often everything was looked at.
    """

    def __init__(self, settings: Settings, emit: Emit) -> None:
        """Watch nothing yet; ``emit`` takes what is to be told."""
        self._settings, self._emit = settings, emit
        self._contracts = Contracts(settings.expectations)
        self._next_look = 0.0
        self.n_looks = 0
        self._troubles: dict[str, str] = {}

    def run(self, stop: threading.Event) -> None:
        """Look at everything once, then whenever something moved, until ``stop`` is set."""
        while not stop.is_set():
            self._watch(folders(self._settings, self._contracts.all()), stop)

    def _watch(self, watched: dict[Path, int], stop: threading.Event) -> None:
        """Watch these folders, until others are to be watched."""
        pause_ms = max(1, int(self._settings.watch.debounce_s * 1000))
        logger.info("watching %s", ", ".join(sorted(str(folder) for folder in watched)))
        self._next_look = 0.0  # after the watch has begun, so that nothing falls in between
        for moved in watch(
            *map(str, watched),
            watch_filter=None,
            step=pause_ms,
            debounce=pause_ms * _LONGEST_BURST,
            rust_timeout=pause_ms,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
            stop_event=stop,
        ):
            if moved or time.monotonic() >= self._next_look:
                self._look()
                if folders(self._settings, self._contracts.all()) != watched:
                    return

    def _look(self) -> None:
        contracts = self._contracts.all()
        local = [c for c in contracts if list(sources(self._settings, (c,)))]
        unsettled = [c for c in local if self._attempt(c.name, partial(self._is_unsettled, c))]
        self._attempt("code", partial(look_at_code, self._settings, self._emit))
        self.n_looks += 1
        watching = self._settings.watch
        self._next_look = time.monotonic() + (watching.debounce_s if unsettled else watching.every_s)

    def _is_unsettled(self, contract: Contract) -> bool:
        return look_at(self._settings, contract, self._emit).outcome == "waiting"

    def _attempt(self, what: str, look: Callable[[], object]) -> object:
        """Return what a look gives, None when it fails: one bad source must not blind us to the others."""
        try:
            found = look()
        except (HedonicError, OSError) as err:
            if self._troubles.get(what) != str(err):
                logger.error("%s", err)
            self._troubles[what] = str(err)
            return None
        except Exception:
            logger.exception("%s: an error that Hedonic did not foresee", what)
            return None
        self._troubles.pop(what, None)
        return found


def main() -> None:
    """Watch the project around until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    settings = load_settings()
    # What the user set comes first; before Prefect is imported, which reads it then.
    os.environ.update(settings.environment() | os.environ)
    from tasks.events import emit

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Watcher(settings, emit).run(stop)
    logger.info("stopped")


if __name__ == "__main__":
    main()
