"""The endpoint that somebody else rolls out: told which image to set, and not waited for."""

from __future__ import annotations

import logging

from hedonic.endpoint import Endpoint
from hedonic.model.manifest import verify_release
from hedonic.serving.source import champion_source
from hedonic.settings import Settings

_logger = logging.getLogger("hedonic.external_endpoint")


def announce_champion(settings: Settings, dataset: str, port: int) -> Endpoint:
    """Return where the champion is to be answered once its image is set, with what there is to do for it.

    Raises:
        UserError: there is no champion yet.
        ReleaseRefused: the release is not what it should be.
    """
    source = champion_source(settings.home, dataset)
    verify_release(source.folder, source.release)
    to_do = image_to_set(settings, dataset, source.release, source.bento)
    _logger.warning("%s", to_do)
    url = settings.endpoint_address(dataset, port)
    return Endpoint(dataset, url, None, source.release, source.bento, to_do)


def image_to_set(settings: Settings, dataset: str, release: str, bento: str | None) -> str:
    """Return the sentence that names the champion's image and the commands that let it serve."""
    name = f"hedonic-{dataset}"
    image = f"REGISTRY/{bento or name}"
    told = (
        f"{dataset}: release {release[:16]} is champion, and by HEDONIC_ROLL_OUT=external "
        f"its roll-out is yours. Make its image: hedonic image {dataset} --push REGISTRY/{name}. "
    )
    if settings.work_pool != "kubernetes":
        return f"{told}Then let its endpoint run {image}."
    endpoint = f"endpoint-{dataset.replace('_', '-')}"
    command = f"kubectl -n {settings.job.namespace} set image deployment/{endpoint} {endpoint}={image}"
    return f"{told}Then set it: {command}"
