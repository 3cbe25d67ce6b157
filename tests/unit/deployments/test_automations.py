"""The server's automations are made to be the declared ones, and those that already are stay untouched."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID, uuid4

from prefect.events.schemas.automations import Automation, AutomationCore

from hedonic.deployments import TAG
from hedonic.deployments.automations import apply_automations, declared_automations
from tests.project import ROOT

SETS = ("after", "expect", "for_each")


class Server:
    """A client of a server that holds automations, and notes what is written."""

    def __init__(self, *known: Automation) -> None:
        self.known = known
        self.written: list[tuple[str, str]] = []

    def read_automations(self) -> list[Automation]:
        return list(self.known)

    def create_automation(self, automation: AutomationCore) -> None:
        self.written.append(("create", automation.name))

    def update_automation(self, automation_id: UUID, automation: AutomationCore) -> None:
        self.written.append(("update", automation.name))

    def delete_automation(self, automation_id: UUID) -> None:
        self.written.append(("delete", next(one.name for one in self.known if one.id == automation_id)))


def stored(automation: AutomationCore, order: random.Random, **changes: Any) -> Automation:
    """Return the automation as a server sends it: with ids, its sets in an order of their own."""
    content = automation.model_dump(mode="json") | {"id": str(uuid4())} | changes
    content["trigger"] |= {"id": str(uuid4())}
    for name in SETS:
        content["trigger"][name] = order.sample(content["trigger"][name], len(content["trigger"][name]))
    return Automation.model_validate(content)


def test_what_is_as_declared_is_not_written_again_in_whatever_order_its_sets_come() -> None:
    declared = declared_automations(ROOT, TAG)
    assert len(declared) >= 3
    for seed in range(5):
        server = Server(*(stored(one, random.Random(seed)) for one in declared))
        assert apply_automations(server, declared, TAG) == []  # type: ignore[arg-type]
        assert server.written == []


def test_what_differs_is_written_what_is_missing_made_and_what_is_declared_no_longer_removed() -> None:
    changed, same, missing = declared_automations(ROOT, TAG)[:3]
    order = random.Random(0)
    fewer = stored(changed, order)
    assert fewer.trigger.expect.pop()  # type: ignore[union-attr]
    gone = stored(same, order, name="gone")
    theirs = stored(same, order, name="theirs", tags=[])
    server = Server(fewer, stored(same, order), gone, theirs)
    assert apply_automations(server, [changed, same, missing], TAG) == ["gone"]  # type: ignore[arg-type]
    assert sorted(server.written) == [("create", missing.name), ("delete", "gone"), ("update", changed.name)]
