"""The state: what the front page shows and ``/api/state`` tells, as one value."""

from __future__ import annotations

from typing import Final, Literal

from hedonic.data.contract import Frozen
from hedonic.monitoring.alerts import Alert
from hedonic.promotion.verdict import Finding

FORMAT_VERSION: Final = 1
Health = Literal["ready", "slow", "down", "unknown"]


class Link(Frozen):
    """Where to look, by what is found there."""

    title: str
    url: str


class PartState(Frozen):
    """A process that `hedonic up` keeps, as it is now.

    Attributes:
        health: ready (it runs and answers), slow (it runs and does not answer, as while it starts), down
            (it does not run), unknown (nobody could be asked).
        told: the same in a few words.
        url: where a person opens it; None where there is nothing to see.
        latency_ms: of the probe; None without one.
    """

    name: str
    title: str
    health: Health
    told: str
    url: str | None = None
    pid: int | None = None
    latency_ms: float | None = None
    links: tuple[Link, ...] = ()


class Figure(Frozen):
    """A figure of a model on the holdout.

    Attributes:
        name: as the gate and MLflow know it.
        title: for people.
        value: None where it is undefined.
        unit: such as ``%`` or ``USD``; empty for a plain number.
        shown: value and unit as text.
        leads: whether it is among the few that are shown first.
    """

    name: str
    title: str
    value: float | None
    unit: str
    shown: str
    leads: bool = False


class VerdictState(Frozen):
    """A record of the history: what was decided about a candidate, or who was made champion, and why."""

    kind: str
    at: str
    summary: str
    reason: str
    actor: str
    release: str | None = None
    findings: tuple[Finding, ...] = ()
    flow_run: str | None = None
    links: tuple[Link, ...] = ()


class ChampionState(Frozen):
    """The release that answers for a data set.

    Attributes:
        since: when it became champion, ISO 8601 in UTC.
        version: of the registered model in MLflow; None where MLflow did not tell.
    """

    release: str
    bento: str | None
    since: str
    kind: str
    actor: str
    reason: str
    figures: tuple[Figure, ...]
    version: str | None = None
    links: tuple[Link, ...] = ()


class RunState(Frozen):
    """A flow run, as Prefect tells it, with the verdict that it came to.

    Attributes:
        state: Prefect's name of it, such as Completed, Crashed or Late.
        kind: Prefect's type of it, such as COMPLETED.
        started: ISO 8601 in UTC; None before it starts.
        verdict: the kind of the verdict; None where there is none (yet).
    """

    id: str
    name: str
    flow: str | None
    dataset: str | None
    state: str
    kind: str
    started: str | None
    ended: str | None
    duration_s: float | None
    reason: str | None
    verdict: str | None
    summary: str | None
    url: str
    links: tuple[Link, ...] = ()


class NextRun(Frozen):
    """A run that Prefect will start."""

    at: str
    deployment: str
    url: str


class DatasetState(Frozen):
    """A data set: its champion, what was decided lately, and what comes next.

    Attributes:
        problem: why its contract cannot be read; None where it can.
        serves: the first 16 digits of the release that the endpoint serves; None when it does not tell.
        predictions: rows answered in the last 24 hours; None where that is not known.
    """

    name: str
    title: str
    problem: str | None = None
    unit: str = ""
    champion: ChampionState | None = None
    serves: str | None = None
    verdicts: tuple[VerdictState, ...] = ()
    next_run: NextRun | None = None
    predictions: int | None = None
    links: tuple[Link, ...] = ()


class State(Frozen):
    """Everything that the front page shows.

    Attributes:
        at: when it was gathered, ISO 8601 in UTC.
        ready: whether every part is ready.
        alerts: those that are open, the worst first.
        runs: the last of all data sets, the newest first.
        unknown: what could not be told, and why; what is shown of it is what was told before.
    """

    format_version: Literal[1] = FORMAT_VERSION
    at: str
    project: str
    ready: bool
    parts: tuple[PartState, ...]
    datasets: tuple[DatasetState, ...]
    runs: tuple[RunState, ...]
    alerts: tuple[Alert, ...]
    unknown: tuple[str, ...] = ()
