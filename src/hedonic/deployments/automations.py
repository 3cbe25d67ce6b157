"""Automations: what Prefect's server does by itself, as the files beside prefect.yaml declare it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import ValidationError

from hedonic.errors import UserError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

FOLDER = Path("deployments") / "automations"


def declared_automations(root: Path, tag: str) -> list[AutomationCore]:
    """Return the automations that are declared beside prefect.yaml.

    Raises:
        UserError: one of them is none, or does not carry our tag.
    """
    from prefect.events.schemas.automations import AutomationCore

    found = []
    for path in sorted((root / FOLDER).glob("*.yaml")):
        for content in yaml.safe_load(path.read_text(encoding="utf-8"))["automations"]:
            try:
                automation = AutomationCore.model_validate(content)
            except ValidationError as err:
                raise UserError(f"{path.relative_to(root)}: {err}") from err
            if tag not in automation.tags:
                raise UserError(
                    f"{path.relative_to(root)}: {automation.name} has no tag {tag}, "
                    f"by which it is found again. Add: tags: [{tag}]"
                )
            found.append(automation)
    return found


def apply_automations(
    client: SyncPrefectClient, automations: Iterable[AutomationCore], tag: str
) -> list[str]:
    """Return the names of automations that were removed; all others are as declared, once each.

    One that is as declared is left alone: to write it again would forget what its trigger waits for.
    """
    declared = {automation.name: automation for automation in automations}
    removed = []
    for known in client.read_automations():
        if tag not in known.tags:
            continue
        wanted = declared.pop(known.name, None)
        if wanted is None:
            client.delete_automation(known.id)
            removed.append(known.name)
        elif known.model_dump(exclude={"id"}) != wanted.model_dump():  # not as JSON: sets have no order
            client.update_automation(known.id, wanted)
    for missing in declared.values():
        client.create_automation(missing)
    return removed
