"""Watch: one look at the source of a data set; new content is recorded, then told."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from hedonic.data.contract_file import load_contract
from hedonic.settings import load_settings
from hedonic.watching.look import Look, look_at
from tasks.events import emit


@task(name="look", cache_policy=NO_CACHE)
def look(dataset: str) -> Look:
    """Return what a look at the source of a data set came to."""
    settings = load_settings()
    found = look_at(settings, load_contract(settings.expectations / f"{dataset}.yaml"), emit)
    get_run_logger().info("%s", found.told)
    return found
