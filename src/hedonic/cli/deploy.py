"""``hedonic deploy``: deployments, schedules, triggers and automations, as they are declared."""

from __future__ import annotations

import os
from dataclasses import asdict

from hedonic.cli.console import DebugOption, JsonOption, terminal, write_object
from hedonic.errors import UserError
from hedonic.orchestration import choose_api
from hedonic.settings import load_settings


def deploy(as_json: JsonOption = False, debug: DebugOption = False) -> None:
    """Make Prefect's server have what prefect.yaml and deployments/automations declare."""
    from hedonic.deployments import deploy as deploy_all

    settings, console = load_settings(), terminal(as_json=as_json)
    api = choose_api(settings, os.environ.get("PREFECT_API_URL"))
    if api is None:
        raise UserError(
            f"no Prefect server answers at {settings.environment()['PREFECT_API_URL']}. Start everything by "
            "`hedonic up`, or a server alone by `prefect server start`, or set PREFECT_API_URL to yours."
        )
    with console.status(f"deploying to {api}"):
        deployed = deploy_all(settings, api)
    for title, names in (("deployed", deployed.deployments), ("automations", deployed.automations)):
        console.print(f"{title}: {', '.join(names)}", markup=False)
    if deployed.removed:
        console.print(f"removed: {', '.join(deployed.removed)}", markup=False)
    if as_json:
        write_object(asdict(deployed))
