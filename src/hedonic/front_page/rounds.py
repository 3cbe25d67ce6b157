"""Rounds: what nobody else would tell of is looked for again and again, told once, and settled when good."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from hedonic.durable_file import write_durably
from hedonic.front_page.addresses import Addresses
from hedonic.front_page.aliases import moved_aliases
from hedonic.front_page.composition import Facts
from hedonic.front_page.flow_runs import FlowRun
from hedonic.front_page.gathering import Gathering
from hedonic.front_page.refused_champions import refused_champions, serves_champion
from hedonic.monitoring.alerts import Alert, AlertBook, failure_key
from hedonic.settings import Settings
from hedonic.supervisor import Supervisor

EVERY_S = 15.0
_WITHIN_S = 9.0
_logger = logging.getLogger("hedonic.front_page")

LATE = timedelta(minutes=5)
"""A run that is scheduled and did not start for so long is missed."""
DOWN = timedelta(seconds=60)
"""A part that does not answer for so long is down, and a worker lost; while it starts it is not."""
CALM = timedelta(minutes=10)
"""A part that did not end for so long since it was restarted is well again."""
HOOK = timedelta(seconds=30)
"""A run that failed reports it by itself within so long, if it can."""
RECENT = timedelta(days=1)
MOOT = "already in terminal state"
"""Of Prefect's reason why a run could not be marked Crashed: it was over, and its events came late."""


@dataclass(slots=True)
class Memory:
    """What the rounds keep in mind from one to the next.

    Attributes:
        daemon: the supervisor's own pid; under another one every part is a new one.
        pids: of each part with its definition, as last seen; kept in a file, for we are a part too.
        restarted: when each part was seen to be restarted last, or was found so.
        down_since: since when a part does not answer.
        unserved_since: since when the champion of each data set is not what its endpoint serves.
        no_worker_since: since when Prefect hears of no worker; one that just started was not heard of yet.
    """

    daemon: int | None = None
    pids: dict[str, tuple[int, str]] = field(default_factory=dict)
    restarted: dict[str, datetime] = field(default_factory=dict)
    down_since: dict[str, datetime] = field(default_factory=dict)
    unserved_since: dict[str, datetime] = field(default_factory=dict)
    no_worker_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found: the alerts of its kind that are due; all others of that kind are over."""

    kind: str
    due: tuple[Alert, ...]
    settles: Callable[[Alert], bool] = lambda _alert: True


class Rounds:
    """The rounds through one project."""

    def __init__(self, settings: Settings, gathering: Gathering) -> None:
        """Take where to look, and the book to write in."""
        self._settings, self._gathering = settings, gathering
        self._book = AlertBook(settings)
        self._file = settings.home / "supervisor" / "seen.json"
        self._supervisor = Supervisor(settings)
        self._memory = _read(self._file)

    async def walk(self) -> None:
        """Walk until cancelled; what goes wrong in a round is logged, and the next one begins as ever."""
        while True:
            try:
                await self.walk_once()
            except Exception:  # a process edge: the page goes on whatever a round meets
                _logger.exception("a round was not finished")
            await asyncio.sleep(EVERY_S)

    async def walk_once(self) -> None:
        """Look at everything once; raise what is new, settle what is good again."""
        facts = await self._gathering.facts(_WITHIN_S)
        await asyncio.to_thread(self.write, facts)

    def write(self, facts: Facts) -> None:
        """Raise what is new in the facts, and settle what is good again."""
        daemon = self._supervisor.pid()
        if daemon != self._memory.daemon:
            self._memory = Memory(daemon=daemon)
        before = dict(self._memory.pids)
        findings = list(look_around(facts, self._memory, self._book.recent(100)))
        known = {alert.key: alert for alert in self._book.open()}
        for finding in findings:
            due = {alert.key for alert in finding.due}
            for alert in finding.due:
                if alert.key not in known or alert.kind == "part-restarted":
                    self._book.raise_(alert)
            for alert in known.values():
                if alert.kind == finding.kind and alert.key not in due and finding.settles(alert):
                    self._book.settle(alert.key)
        if self._memory.pids != before:  # last: a round that is cut short tells again
            write_durably(self._file, json.dumps({"daemon": daemon, "pids": self._memory.pids}))


def look_around(facts: Facts, memory: Memory, recent: tuple[Alert, ...]) -> Iterator[Finding]:
    """Return what each rule found; a rule whose facts are not known finds nothing, good or bad."""
    known = {told.partition(":")[0] for told in facts.unknown}  # what could not be asked this time
    if facts.running is not None and "the supervisor" not in known:
        yield Finding(
            "part-restarted", tuple(_restarted(facts, memory)), lambda a: _is_calm(a, facts, memory)
        )
        yield Finding("part-down", tuple(_down(facts, memory)))
    if "the history" not in known:
        yield Finding(
            "champion-refused",
            tuple(refused_champions(facts, memory.unserved_since, DOWN)),
            lambda a: serves_champion(a, facts),
        )
    if facts.tracked and "MLflow" not in known:
        yield Finding("alias-moved", tuple(moved_aliases(facts)))
    if facts.orchestration is not None and "Prefect" not in known:
        yield Finding("worker-lost", tuple(_lost_workers(facts, memory)))
        yield Finding("schedule-missed", tuple(_missed(facts)))
        yield Finding("automation-failed", tuple(_failed_automations(facts)))
        yield Finding("run-failed", tuple(_failed_runs(facts, recent)), lambda a: _is_mended(a, facts))


def _restarted(facts: Facts, memory: Memory) -> Iterator[Alert]:
    """Yield the parts whose process is another one, though it was told to be the same."""
    for name, running in (facts.running or {}).items():
        if running.pid is None:
            continue
        before = memory.pids.get(name)
        memory.pids[name] = (running.pid, running.definition)
        if before is not None and before[0] != running.pid and before[1] == running.definition:
            memory.restarted[name] = facts.at
            yield Alert(
                kind="part-restarted",
                severity="warning",
                key=f"part-restarted:{name}",
                title=f"{name} ended and was restarted",
                text=f"Process {before[0]} is gone, {running.pid} took its place. Why: hedonic logs {name}",
            )
    for name in set(memory.pids) - set(facts.running or {}):
        del memory.pids[name]


def _is_calm(alert: Alert, facts: Facts, memory: Memory) -> bool:
    name = alert.key.removeprefix("part-restarted:")
    return facts.at - memory.restarted.setdefault(name, facts.at) > CALM


def _down(facts: Facts, memory: Memory) -> Iterator[Alert]:
    """Yield the parts that do not run, or do not answer, for longer than a start takes."""
    for name, running in (facts.running or {}).items():
        probe = facts.probes.get(name)
        if running.pid is not None and (probe is None or probe.problem is None):
            memory.down_since.pop(name, None)
            continue
        since = memory.down_since.setdefault(name, facts.at)
        if facts.at - since >= DOWN:
            told = "does not run" if running.pid is None else f"runs, but {probe.problem if probe else ''}"
            back = _way_back(name)
            yield Alert(
                kind="part-down",
                severity="critical",
                key=f"part-down:{name}",
                title=f"{name} is down",
                text=f"It {told} since {since:%H:%M:%S} UTC. See: hedonic logs {name}{back}",
            )
    for name in set(memory.down_since) - set(facts.running or {}):
        del memory.down_since[name]


def _way_back(name: str) -> str:
    """Return what else to do about an endpoint that is down."""
    dataset = name.removeprefix("endpoint-")
    return "" if dataset == name else f". If it refuses its release there: hedonic rollback {dataset}"


def _lost_workers(facts: Facts, memory: Memory) -> Iterator[Alert]:
    """Yield one alert when workers were known to Prefect and none of them is heard of for a while."""
    workers = facts.orchestration.workers if facts.orchestration else {}
    if not workers or "ONLINE" in workers.values():
        memory.no_worker_since = None
        return
    since = memory.no_worker_since = memory.no_worker_since or facts.at
    if facts.at - since >= DOWN:
        yield Alert(
            kind="worker-lost",
            severity="critical",
            key="worker-lost",
            title="no worker is left",
            text=f"Prefect has not heard of {', '.join(sorted(workers))} lately: no run starts. "
            "See: hedonic logs worker",
            link=f"{Addresses.for_people(facts.settings).prefect}/work-pools",
        )


def _missed(facts: Facts) -> Iterator[Alert]:
    """Yield the runs that should have started, and the schedules for which no run is waiting."""
    orchestration, addresses = facts.orchestration, Addresses.for_people(facts.settings)
    if orchestration is None:
        return
    late = [run for run in orchestration.runs if run.state == "Late" and run.expected]
    for run in late:
        if run.expected is not None and facts.at - run.expected > LATE:
            yield Alert(
                kind="schedule-missed",
                severity="warning",
                key=f"schedule-missed:{run.deployment or run.name}",
                dataset=run.dataset,
                title=f"{run.deployment or run.name} did not start",
                text=f"It was due at {run.expected:%Y-%m-%d %H:%M} UTC. Is a worker running? hedonic status",
                link=addresses.flow_run(run.id),
            )
    waiting = {run.deployment for run in orchestration.scheduled} | {run.deployment for run in late}
    for deployment in orchestration.deployments.values():
        is_new = facts.at - deployment.updated < LATE
        if deployment.is_scheduled and not is_new and deployment.name not in waiting:
            yield Alert(
                kind="schedule-missed",
                severity="warning",
                key=f"schedule-missed:{deployment.name}",
                dataset=deployment.dataset,
                title=f"{deployment.name} has a schedule and no run is waiting",
                text="Prefect's scheduler makes runs ahead of time and made none. Restart it: hedonic up",
                link=addresses.deployment(deployment.id),
            )


def _failed_automations(facts: Facts) -> Iterator[Alert]:
    for failure in facts.orchestration.failures if facts.orchestration else ():
        if MOOT in failure.reason:
            continue
        yield Alert(
            kind="automation-failed",
            severity="warning",
            key=f"automation-failed:{failure.name}",
            title=f"automation {failure.name} failed",
            text=f"What it should have done was not done: {failure.reason}",
            link=f"{Addresses.for_people(facts.settings).prefect}/automations",
        )


def _failed_runs(facts: Facts, recent: tuple[Alert, ...]) -> Iterator[Alert]:
    """Yield the last run of each flow and data set where it failed and did not report it."""
    for run in _last_runs(facts).values():
        if run.kind not in ("FAILED", "CRASHED") or run.ended is None:
            continue
        age = facts.at - run.ended
        reported = any(
            alert.kind in ("run-failed", "data-refused")
            and (alert.dataset == run.dataset or run.id in (alert.link or ""))
            and (run.started is None or datetime.fromisoformat(alert.at) >= run.started)
            for alert in recent
        )
        if reported or not HOOK < age < RECENT:
            continue
        yield Alert(
            kind="run-failed",
            severity="critical",
            key=_key(run),
            dataset=run.dataset,
            title=f"{run.name} {run.state.lower()}",
            text=run.message or "Prefect gives no reason; its log has more.",
            link=Addresses.for_people(facts.settings).flow_run(run.id),
        )


def _is_mended(alert: Alert, facts: Facts) -> bool:
    """Return whether a run completed since; what a hook raised is settled by the same."""
    return any(
        _key(run) == alert.key and run.kind == "COMPLETED" and run.ended is not None
        and run.ended > datetime.fromisoformat(alert.at)
        for run in _last_runs(facts).values()
    )  # fmt: skip


def _last_runs(facts: Facts) -> dict[str, FlowRun]:
    """Return the last run of each flow and data set that came to an end."""
    last: dict[str, FlowRun] = {}
    for run in facts.orchestration.runs if facts.orchestration else ():
        known = last.get(_key(run))
        if run.is_over and run.ended and (known is None or known.ended is None or run.ended > known.ended):
            last[_key(run)] = run
    return last


def _key(run: FlowRun) -> str:
    """Return the key of a run's alert, which is that of its own hook and of the automation for it."""
    return failure_key(run.flow, run.dataset or run.name)


def _read(file: Path) -> Memory:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        pids = {str(name): (int(pid), str(definition)) for name, (pid, definition) in told["pids"].items()}
        return Memory(daemon=told["daemon"], pids=pids)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Memory()
