"""Links from a run to the page of each tool that shows what it made."""

from __future__ import annotations

from hedonic.data.contract import Contract
from hedonic.settings import Settings
from hedonic.tracking import Tracking
from tasks.run_page import own_url


def tool_links(settings: Settings, contract: Contract, study: str, run_id: str) -> dict[str, str]:
    """Return the addresses of the MLflow run, the study, the Data Docs and the endpoint, by what is there."""
    from hedonic.model.search import open_storage, study_number

    number = study_number(open_storage(settings.studies), study)
    links = {
        "MLflow run": Tracking(settings, contract.name).url(run_id),
        "Optuna study": f"{settings.page('optuna')}/dashboard/studies/{number}",
        "Data Docs": f"{settings.page('front_page')}/data-docs/index.html",
        "endpoint": f"{settings.endpoint_page(contract.name, contract.serve.port)}/model/info",
    }
    run = own_url()
    return {**links, "Prefect run": run} if run else links
