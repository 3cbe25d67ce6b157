"""Gathering: every look at once, and the state made of what they told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from hedonic.endpoint import process_name
from hedonic.front_page.addresses import Addresses
from hedonic.front_page.books import Book, Books
from hedonic.front_page.composition import Facts, compose
from hedonic.front_page.flow_runs import Orchestration, Prefect
from hedonic.front_page.look import Look, refresh
from hedonic.front_page.state import State
from hedonic.front_page.tools import Answered, Tracked, probe, served, studies, tracked
from hedonic.monitoring.alerts import Alert, AlertBook
from hedonic.parts import Part, parts, server_part
from hedonic.settings import Settings
from hedonic.supervisor import Running, Supervisor

WITHIN_S = 0.7
_ASK_LIMIT_S = 2.5


class Gathering:
    """The looks at one project, and the client that they share."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient) -> None:
        """Take where to look; nothing is asked yet."""
        self._settings, self._client = settings, client
        inside = Addresses.inside(settings)
        self._inside, self._books = inside, Books(settings)
        self._supervisor, self._alerts = Supervisor(settings), AlertBook(settings)
        prefect = Prefect(client, inside.prefect_api, settings.prefect_auth)
        self.books: Look[dict[str, Book]] = Look("the history", lambda: _thread(self._books.read))
        self.alerts: Look[tuple[Alert, ...]] = Look("the alerts", lambda: _thread(self._alerts.open))
        self.running: Look[dict[str, Running]] = Look(
            "the supervisor", lambda: _thread(self._supervisor.running)
        )
        self.orchestration: Look[Orchestration] = Look("Prefect", prefect.ask, limit_s=8.0, fresh_s=2.0)
        self.counted: Look[dict[str, int] | None] = Look(
            "the prediction log", lambda: _thread(self._books.count_predictions), fresh_s=5.0
        )
        self.tracked: Look[dict[str, Tracked]] = Look("MLflow", self._ask_mlflow, limit_s=8.0, fresh_s=10.0)
        self.studies: Look[dict[str, int]] = Look(
            "Optuna", lambda: studies(client, inside.optuna), limit_s=8.0, fresh_s=10.0
        )
        self.probes: dict[str, Look[Answered]] = {
            part.name: self._probe(f"{inside.of(part.service)}{part.probe}")
            for part in self.parts
            if part.service is not None and part.probe is not None and part.name != "front-page"
        }
        self.served: dict[str, Look[str | None]] = {}

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return the parts beside the endpoints; of a watcher that runs elsewhere nothing is heard."""
        known = (server_part(self._settings), *parts(self._settings))
        return tuple(part for part in known if not (part.elsewhere and part.name == "watcher"))

    async def state(self, host: str) -> State:
        """Return the state now, in less than a second whatever does not answer; links are for ``host``."""
        facts = await self.facts(WITHIN_S)
        return compose(facts, Addresses.seen_from(self._settings, host))

    async def facts(self, within_s: float) -> Facts:
        """Return what all looks tell within a time."""
        began = time.monotonic()
        await refresh([self.books], within_s / 2)  # first: what else is to be asked follows from it
        self._look_at_endpoints()
        await refresh(self._looks(), within_s - (time.monotonic() - began))
        return Facts(
            at=datetime.now(UTC),
            settings=self._settings,
            parts=self.parts,
            books=self.books.told or {},
            alerts=self.alerts.told or (),
            running=self.running.told,
            orchestration=self.orchestration.told,
            counted=self.counted.told,
            tracked=self.tracked.told or {},
            studies=self.studies.told or {},
            probes=self.probes,
            served=self.served,
            unknown=tuple(_missing(look) for look in self._looks() if look.problem is not None and look.name),
        )

    def _looks(self) -> Iterator[Look[Any]]:
        yield from (self.books, self.alerts, self.running, self.orchestration, self.counted, self.tracked)
        yield self.studies
        yield from self.probes.values()
        yield from self.served.values()

    def _look_at_endpoints(self) -> None:
        """Look at the endpoint of each data set that has a champion."""
        for name, book in (self.books.told or {}).items():
            if book.champion is None or book.contract is None or name in self.served:
                continue
            url = self._inside.endpoint(name, book.contract.serve.port)
            self.probes[process_name(name)] = self._probe(f"{url}/readyz")
            self.served[name] = self._serves(url)

    def _probe(self, url: str) -> Look[Answered]:
        return Look("", lambda: probe(self._client, url), limit_s=_ASK_LIMIT_S)

    def _serves(self, url: str) -> Look[str | None]:
        return Look("", lambda: served(self._client, url, self._settings.authorization), fresh_s=2.0)

    async def _ask_mlflow(self) -> dict[str, Tracked]:
        return await tracked(self._client, self._inside.mlflow, self.books.told or {})


async def _thread(read: Any) -> Any:
    return await asyncio.to_thread(read)


def _missing(look: Look[Any]) -> str:
    since = f"; shown as of {look.at:%H:%M:%S} UTC" if look.at else ""
    return f"{look.name}: {look.problem}{since}"
