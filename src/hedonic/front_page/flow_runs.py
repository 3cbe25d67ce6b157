"""What Prefect's API tells: runs, what is scheduled, deployments, workers, and automations that failed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import SecretStr

from hedonic.parts import WORK_POOL

_EVENTS = ("prefect.automation.action.failed", "prefect.automation.action.executed")
_FREQUENT = ("watch",)
"""Flows that run every few minutes: asked for apart, for they would hide all others."""
_MANY, _FEW = 40, 20


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment: ``flow/name``, and whether it has a schedule that is on."""

    id: str
    name: str
    is_scheduled: bool
    updated: datetime
    dataset: str | None


@dataclass(frozen=True, slots=True)
class FlowRun:
    """A flow run; times are in UTC."""

    id: str
    name: str
    flow: str | None
    deployment: str | None
    dataset: str | None
    reason: str | None
    kind: str
    state: str
    message: str | None
    expected: datetime | None
    started: datetime | None
    ended: datetime | None

    @property
    def is_worth_showing(self) -> bool:
        """Return whether people look for it: not a look at a source that found nothing wrong."""
        return self.flow not in _FREQUENT or self.kind in ("FAILED", "CRASHED")

    @property
    def is_over(self) -> bool:
        """Return whether it came to an end."""
        return self.kind in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

    def duration_s(self, now: datetime) -> float | None:
        """Return how long it took, or takes; None before it starts."""
        return None if self.started is None else ((self.ended or now) - self.started).total_seconds()


@dataclass(frozen=True, slots=True)
class ActionFailure:
    """An automation whose action failed, so that the run that it should have started does not exist."""

    automation: str
    name: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Orchestration:
    """All that Prefect told at one time.

    Attributes:
        runs: that started or should have, the newest of each flow first.
        scheduled: the next run of each deployment that has a schedule.
        workers: the status of each by name; ONLINE is good.
        failures: the last word of each automation, where it was a failure.
    """

    runs: tuple[FlowRun, ...] = ()
    scheduled: tuple[FlowRun, ...] = ()
    deployments: dict[str, Deployment] = field(default_factory=dict)
    workers: dict[str, str] = field(default_factory=dict)
    failures: tuple[ActionFailure, ...] = ()


class Prefect:
    """Prefect's API; flows and deployments are asked for together with the runs."""

    def __init__(self, client: httpx.AsyncClient, api: str, known: SecretStr | None = None) -> None:
        """Take the client, the API's address, and the ``name:password`` that it asks for, if it does."""
        self._client, self._api = client, api
        name, _, password = known.get_secret_value().partition(":") if known else ("", "", "")
        self._auth = httpx.BasicAuth(name, password) if known else httpx.Auth()

    async def ask(self) -> Orchestration:
        """Return what Prefect tells now.

        Raises:
            OSError: it does not answer.
        """
        flows = {flow["id"]: flow["name"] for flow in await self._filter("flows", {})}
        told = await self._filter("deployments", {})
        deployments = {content["id"]: _deployment(content, flows) for content in told}
        seldom = [name for name in flows.values() if name not in _FREQUENT]
        runs, looks, coming, workers, failures = await asyncio.gather(
            self._began(seldom, _MANY),
            self._began(list(_FREQUENT), _FEW),
            asyncio.gather(*(self._next(d.id) for d in deployments.values() if d.is_scheduled)),
            self._workers(),
            self._failures(),
        )
        return Orchestration(
            runs=tuple(_run(told, flows, deployments) for told in (*runs, *looks)),
            scheduled=tuple(_run(told, flows, deployments) for found in coming for told in found),
            deployments=deployments,
            workers=workers,
            failures=failures,
        )

    async def _began(self, flows: list[str], limit: int) -> list[Any]:
        """Return the last runs of these flows that started, or should have."""
        asked = {
            "flow_runs": {"state": {"name": {"not_any_": ["Scheduled"]}}},
            "flows": {"name": {"any_": flows}},
        }
        order = {"sort": "EXPECTED_START_TIME_DESC", "limit": limit}
        return list(await self._filter("flow_runs", asked | order)) if flows else []

    async def _next(self, deployment: str) -> list[Any]:
        """Return the next run of a deployment that is scheduled; empty when there is none."""
        state = {"flow_runs": {"state": {"name": {"any_": ["Scheduled"]}}}}
        asked = state | {"deployments": {"id": {"any_": [deployment]}}}
        return list(await self._filter("flow_runs", asked | {"sort": "EXPECTED_START_TIME_ASC", "limit": 1}))

    async def _workers(self) -> dict[str, str]:
        # A work pool that nobody made yet has no workers.
        told = await self._filter(f"work_pools/{WORK_POOL}/workers", {}, missing=[])
        return {worker["name"]: worker["status"] for worker in told}

    async def _failures(self) -> tuple[ActionFailure, ...]:
        since = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        asked = {"event": {"name": list(_EVENTS)}, "occurred": {"since": since}, "order": "DESC"}
        told = await self._filter("events", {"filter": asked, "limit": 50})
        last: dict[str, dict[str, Any]] = {}
        for event in told["events"]:
            last.setdefault(event["resource"].get("prefect.resource.id", ""), event)
        return tuple(_failure(event) for event in last.values() if event["event"] == _EVENTS[0])

    async def _filter(self, what: str, asked: dict[str, Any], missing: Any = None) -> Any:
        try:
            answer = await self._client.post(f"{self._api}/{what}/filter", json=asked, auth=self._auth)
            if answer.status_code == httpx.codes.NOT_FOUND and missing is not None:
                return missing
            answer.raise_for_status()
        except httpx.HTTPError as err:
            raise OSError(f"Prefect's API: {str(err) or type(err).__name__}") from err
        return answer.json()


def _deployment(told: dict[str, Any], flows: dict[str, str]) -> Deployment:
    on = not told.get("paused") and any(schedule["active"] for schedule in told.get("schedules") or ())
    return Deployment(
        id=told["id"],
        name=f"{flows.get(told['flow_id'], '?')}/{told['name']}",
        is_scheduled=on,
        updated=datetime.fromisoformat(told["updated"] or told["created"]),
        dataset=(told.get("parameters") or {}).get("dataset"),
    )


def _run(told: dict[str, Any], flows: dict[str, str], deployments: dict[str, Deployment]) -> FlowRun:
    parameters, deployment = told.get("parameters") or {}, deployments.get(told.get("deployment_id") or "")
    return FlowRun(
        id=told["id"],
        name=told["name"],
        flow=flows.get(told["flow_id"]),
        deployment=deployment.name if deployment else None,
        dataset=parameters.get("dataset"),
        reason=parameters.get("reason"),
        kind=told["state_type"] or "PENDING",
        state=told["state_name"] or "Pending",
        message=(told.get("state") or {}).get("message"),
        expected=_time(told.get("next_scheduled_start_time") or told.get("expected_start_time")),
        started=_time(told.get("start_time")),
        ended=_time(told.get("end_time")),
    )


def _failure(event: dict[str, Any]) -> ActionFailure:
    resource, payload = event["resource"], event.get("payload") or {}
    return ActionFailure(
        automation=resource.get("prefect.resource.id", ""),
        name=resource.get("prefect.resource.name") or "an automation",
        reason=str(payload.get("reason") or "Prefect gives no reason"),
        at=datetime.fromisoformat(event["occurred"]),
    )


def _time(told: str | None) -> datetime | None:
    return None if told is None else datetime.fromisoformat(told)
