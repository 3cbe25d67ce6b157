"""Events: what happened, in the form in which Prefect's automations hear of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AwareDatetime, JsonValue

from hedonic.data.contract import Frozen
from hedonic.errors import HedonicError

EventName = Literal["dataset.changed", "dataset.unreadable", "code.changed"]
CODE = "hedonic.code"


class NotDelivered(HedonicError):
    """An event did not reach the server; it is sent again later, under the same id."""


class Event(Frozen):
    """Something that happened, to one resource.

    Attributes:
        id: the same whenever the same thing is told again, so that it is heard once.
        resource: such as ``hedonic.dataset.king_county``.
        payload: what an automation's templates can name.
    """

    id: UUID
    name: EventName
    resource: str
    resource_name: str
    at: AwareDatetime
    payload: dict[str, JsonValue]


Emit = Callable[[Event], None]
"""Takes an event to where it is heard; returns once it is safe there, or raises NotDelivered."""


def dataset_event(name: EventName, dataset: str, key: str, payload: dict[str, JsonValue]) -> Event:
    """Return the event about a data set; its id follows from the name, the data set and ``key``."""
    return _event(name, f"hedonic.dataset.{dataset}", dataset, key, payload)


def code_event(key: str, payload: dict[str, JsonValue]) -> Event:
    """Return the event that the code changed; its id follows from ``key``."""
    return _event("code.changed", CODE, "code", key, payload)


def _event(
    name: EventName, resource: str, resource_name: str, key: str, payload: dict[str, JsonValue]
) -> Event:
    return Event(
        id=uuid5(NAMESPACE_URL, f"{name}/{resource}/{key}"),
        name=name,
        resource=resource,
        resource_name=resource_name,
        at=datetime.now(UTC),
        payload=payload,
    )
