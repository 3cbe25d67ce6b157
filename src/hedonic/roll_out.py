"""The roll-out, as HEDONIC_ROLL_OUT says: a process on the port, a container behind it, or not by us."""

from __future__ import annotations

import logging
import os

from hedonic.endpoint import Endpoint, stop_endpoint
from hedonic.endpoint import start_endpoint as start_process
from hedonic.settings import Settings

_logger = logging.getLogger("hedonic.roll_out")


def start_endpoint(settings: Settings, dataset: str, port: int, *, stays: bool = False) -> Endpoint:
    """Return the endpoint once it serves the champion of ``dataset`` and has answered its golden rows.

    Where somebody else rolls it out nothing is waited for: the endpoint says what there is to do.

    Args:
        settings: say how.
        dataset: whose champion.
        port: of the endpoint.
        stays: whether a process that does not come to answer rightly goes on, because the caller moves its
            pointer back; the container that answered before always does.

    Raises:
        HedonicError: it does not.
    """
    if settings.roll_out == "process":
        endpoint = start_process(settings, dataset, port, stays=stays)
        # What answered until now: the port is the process's.
        forget_containers(settings, dataset)
        return endpoint
    if settings.roll_out == "external":
        from hedonic.external_endpoint import announce_champion

        return announce_champion(settings, dataset, port)
    from hedonic.container_endpoint import logs_to_a_server, start_container

    endpoint, image = start_container(settings, dataset, port)
    _logger.info("image %s, %.0f MB, %s", image.name, image.size / 1e6, image.id[:19])
    if not logs_to_a_server(os.environ):
        _logger.warning(
            "answers are not logged: a container logs to HEDONIC_PREDICTION_LOG_URL=postgresql://…"
        )
    return endpoint


def take_back(settings: Settings, dataset: str) -> None:
    """Stop what answers for a data set, if anything does."""
    stop_endpoint(settings, dataset)
    forget_containers(settings, dataset)


def forget_containers(settings: Settings, dataset: str | None = None) -> list[str]:
    """Return the names of the containers that answered until now (for one data set); they are removed.

    Where no engine answers they are left to be removed later, which is logged.
    """
    paths = list(settings.serving.glob(f"{dataset or '*'}.container.json"))
    if not paths:
        return []
    from hedonic.container_endpoint import stop_containers
    from hedonic.images.engine import NoEngine

    try:
        stopped = stop_containers(settings, dataset)
    except NoEngine as err:
        _logger.warning("containers that may run are left: %s", err)
        return []
    for path in paths:
        path.unlink(missing_ok=True)
    return stopped
