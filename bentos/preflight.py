"""What is looked at before a port opens: who may ask, where answers go, whether the release may be served."""

from __future__ import annotations

import os

from bentos.worker import WORKER, find_source, place_jobs
from hedonic.served_settings import read_log_settings
from hedonic.serving.guard_settings import refuse_open_door
from hedonic.serving.loading import load_source
from hedonic.serving.traffic_plan import plan_in


def preflight(host: str) -> None:
    """Refuse to serve on ``host`` what may not be served, or to everyone.

    Raises:
        HedonicError: with what to set or to do.
    """
    refuse_open_door(WORKER.guard_settings, [host])
    plan_in(os.environ)
    read_log_settings()
    load_source(find_source())
    place_jobs()
