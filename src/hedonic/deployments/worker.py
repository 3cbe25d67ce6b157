"""The worker of this machine: Prefect's own, after what an earlier one lost has been told to the server.

``hedonic up`` keeps it running as ``python -m hedonic.deployments.worker ARGUMENTS``, which are those of
``prefect worker start``.
"""

from __future__ import annotations

import logging
import runpy
import sys
import time

from hedonic.deployments import end_runs_of_lost_worker
from hedonic.orchestration import is_healthy
from hedonic.settings import Settings, load_settings

logger = logging.getLogger("hedonic.worker")

_POLL_S = 0.5


def begin(settings: Settings) -> None:
    """Return once the server answers and knows which runs were lost with an earlier worker."""
    while not is_healthy(settings.environment()["PREFECT_API_URL"]):
        time.sleep(_POLL_S)
    for lost in end_runs_of_lost_worker(settings):
        logger.warning("%s: was under way when its worker ended, and has no process any more", lost)


def main() -> None:
    """Tell what was lost, then be Prefect's worker until SIGTERM or SIGINT."""
    begin(load_settings())
    sys.argv = ["prefect", "worker", "start", *sys.argv[1:]]
    runpy.run_module("prefect", run_name="__main__")


if __name__ == "__main__":
    main()
