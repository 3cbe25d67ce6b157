"""Events, as they are emitted to Prefect: an automation's trigger hears each of them once."""

from __future__ import annotations

import time

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.events import Event as PrefectEvent
from prefect.settings import get_current_settings

from hedonic.watching.event import Event, NotDelivered

_CALL_LIMIT_S, _ARRIVAL_LIMIT_S, _POLL_S = 10.0, 20.0, 0.25


def emit(event: Event) -> None:
    """Return once Prefect's server has the event in its store.

    ``prefect.events.emit_event`` hands an event to a thread and returns; what a kill takes with it then
    is lost. The server stores what it receives every few seconds, while its triggers act at once; one
    that dies before is sent the event again, under the same id, which it takes in once.

    Raises:
        NotDelivered: there is no server, or it does not have the event.
    """
    if not get_current_settings().api.url:
        raise NotDelivered(f"{event.name}: PREFECT_API_URL is not set; start the server by `hedonic up`.")
    try:
        with get_client(httpx_settings={"timeout": _CALL_LIMIT_S}, sync_client=True) as client:
            client.request("POST", "/events", json=[_told(event).model_dump(mode="json")])
            _await_arrival(client, event)
    except httpx.HTTPError as err:
        raise NotDelivered(
            f"{event.name} of {event.resource_name}: Prefect's server does not take it ({err}); "
            "sent again later."
        ) from err


def _told(event: Event) -> PrefectEvent:
    return PrefectEvent(
        id=event.id,
        event=event.name,
        occurred=event.at,
        resource={"prefect.resource.id": event.resource, "prefect.resource.name": event.resource_name},
        payload=event.payload,
    )


def _await_arrival(client: SyncPrefectClient, event: Event) -> None:
    wanted = {"id": {"id": [str(event.id)]}, "occurred": {"since": event.at.isoformat()}}
    deadline = time.monotonic() + _ARRIVAL_LIMIT_S
    while time.monotonic() < deadline:
        found = client.request("POST", "/events/filter", json={"filter": wanted, "limit": 1}).json()
        if found["events"]:
            return
        time.sleep(_POLL_S)
    raise NotDelivered(
        f"{event.name} of {event.resource_name}: Prefect's server did not store it within "
        f"{_ARRIVAL_LIMIT_S:g} s; sent again later."
    )
