"""Composition: the state, made of what every look told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from hedonic.endpoint import process_name
from hedonic.front_page.addresses import Addresses
from hedonic.front_page.books import Book
from hedonic.front_page.figures import named_figures
from hedonic.front_page.flow_runs import FlowRun, Orchestration
from hedonic.front_page.look import Look
from hedonic.front_page.state import (
    ChampionState,
    DatasetState,
    Health,
    Link,
    NextRun,
    PartState,
    RunState,
    State,
    VerdictState,
)
from hedonic.front_page.tools import Answered, Tracked
from hedonic.model.study_name import is_study_of
from hedonic.monitoring.alerts import Alert
from hedonic.parts import Part
from hedonic.promotion.record import Record
from hedonic.settings import Settings
from hedonic.supervisor import Running

_RUNS, _VERDICTS = 12, 6


@dataclass(frozen=True, slots=True)
class Facts:
    """What was told at one time.

    Attributes:
        running: None where the supervisor could not be asked.
        orchestration: None where Prefect did not tell anything yet.
        counted: predictions by data set; None where they were not counted.
        unknown: what could not be told this time, and why.
    """

    at: datetime
    settings: Settings
    parts: tuple[Part, ...]
    books: Mapping[str, Book]
    alerts: tuple[Alert, ...]
    running: Mapping[str, Running] | None
    orchestration: Orchestration | None
    counted: Mapping[str, int] | None
    tracked: Mapping[str, Tracked]
    studies: Mapping[str, int]
    probes: Mapping[str, Look[Answered]]
    served: Mapping[str, Look[str | None]]
    unknown: tuple[str, ...]


def compose(facts: Facts, addresses: Addresses) -> State:
    """Return the state made of the facts, with links to ``addresses``."""
    parts = tuple(_parts(facts, addresses))
    return State(
        at=facts.at.isoformat(timespec="seconds"),
        project=facts.settings.root.name,
        ready=all(part.health == "ready" for part in parts),
        parts=parts,
        datasets=tuple(_dataset(facts, book, addresses) for book in facts.books.values()),
        runs=tuple(_runs(facts, addresses)),
        alerts=facts.alerts,
        unknown=facts.unknown,
    )


def _parts(facts: Facts, addresses: Addresses) -> Iterator[PartState]:
    for part in facts.parts:
        health, told = _health(facts, part.name, elsewhere=part.elsewhere)
        page = "/v2/dashboard" if part.name == "prefect" else part.page
        url = None if part.service is None or page is None else f"{addresses.of(part.service)}{page}"
        yield _part(facts, part.name, part.title, health, told, url, addresses.inside_of(part.name))
    for book in facts.books.values():
        if book.champion is None or book.contract is None:
            continue
        url = addresses.endpoint(book.dataset, book.contract.serve.port)
        name, elsewhere = process_name(book.dataset), facts.settings.services.endpoint is not None
        health, told = _health(facts, name, elsewhere=elsewhere)
        links = (
            Link(title="Swagger", url=f"{url}/"),
            Link(title="Model info", url=f"{url}/model/info"),
            Link(title="Metrics", url=f"{url}/metrics"),
        )
        yield _part(facts, name, f"Endpoint {book.dataset}", health, told, f"{url}/", links)


def _part(
    facts: Facts,
    name: str,
    title: str,
    health: Health,
    told: str,
    url: str | None,
    links: tuple[Link, ...] = (),
) -> PartState:
    running, probe = (facts.running or {}).get(name), facts.probes.get(name)
    latency = probe.told.latency_ms if probe and probe.told and probe.problem is None else None
    pid = running.pid if running else None
    return PartState(
        name=name, title=title, health=health, told=told, url=url, pid=pid, latency_ms=latency, links=links
    )


def _health(facts: Facts, name: str, *, elsewhere: bool) -> tuple[Health, str]:
    """Return how a part is: what its probe says, else what the supervisor and Prefect say of its process.

    The supervisor knows nothing of what runs elsewhere.
    """
    if name == "front-page":
        return "ready", "answers"
    running, probe = (facts.running or {}).get(name), facts.probes.get(name)
    runs = running is not None and running.pid is not None
    if probe is not None:
        if probe.told is not None and probe.problem is None:
            return (
                "ready",
                "answers"
                if runs or elsewhere or facts.running is None
                else "answers; not started by hedonic up",
            )
        if probe.problem is None:
            return "unknown", "was not asked yet"
        return ("slow", f"runs, but {probe.problem}") if runs else ("down", probe.problem)
    if elsewhere and facts.orchestration is None:
        return "unknown", "Prefect could not be asked"
    if not elsewhere and facts.running is None:
        return "unknown", "the supervisor could not be asked"
    if not elsewhere and not runs:
        return "down", "does not run"
    if name == "worker" and facts.orchestration is not None:
        if "ONLINE" in facts.orchestration.workers.values():
            return "ready", "online"
        return (
            ("down", "Prefect has not heard of one lately")
            if elsewhere
            else ("slow", "runs, but Prefect has not heard of it lately")
        )
    return "ready", "runs"


def _dataset(facts: Facts, book: Book, addresses: Addresses) -> DatasetState:
    contract, champion = book.contract, book.champion
    unit = contract.target.unit if contract else ""
    look = facts.served.get(book.dataset)
    release = look.told if look is not None and look.problem is None else None
    return DatasetState(
        name=book.dataset,
        title=contract.title if contract else book.dataset,
        problem=book.problem,
        unit=unit,
        champion=_champion(facts, book, champion, addresses) if champion else None,
        serves=release[:16] if release else None,
        verdicts=tuple(_verdict(facts, record, addresses) for record in book.records[:_VERDICTS]),
        next_run=_next_run(facts, book.dataset, addresses),
        predictions=None if facts.counted is None else facts.counted.get(book.dataset, 0),
        links=tuple(_dataset_links(facts, book, addresses)),
    )


def _champion(facts: Facts, book: Book, record: Record, addresses: Addresses) -> ChampionState:
    known = facts.tracked.get(book.dataset)
    version = known.version if known and known.version else book.release.version
    links = list(_record_links(facts, record, addresses))
    if version is not None:
        links.append(Link(title="Model version", url=addresses.model_version(book.dataset, version)))
    study = facts.studies.get(book.release.study or "")
    if study is not None:
        links.append(Link(title="Study", url=addresses.study(study)))
    return ChampionState(
        release=record.release or "",
        bento=record.bento,
        since=record.at,
        kind=record.kind,
        actor=record.actor,
        reason=record.reason,
        figures=named_figures(record.figures, book.contract.target.unit if book.contract else ""),
        version=version,
        links=tuple(links),
    )


def _verdict(facts: Facts, record: Record, addresses: Addresses) -> VerdictState:
    return VerdictState(
        kind=record.kind,
        at=record.at,
        summary=record.verdict.summary if record.verdict else record.reason,
        reason=record.reason,
        actor=record.actor,
        release=record.release,
        findings=record.reasons,
        flow_run=record.flow_run,
        links=tuple(_record_links(facts, record, addresses)),
    )


def _record_links(facts: Facts, record: Record, addresses: Addresses) -> Iterator[Link]:
    known = {run.id for run in facts.orchestration.runs} if facts.orchestration else set()
    if record.flow_run is not None and record.flow_run in known:  # a run without a server has no page
        yield Link(title="Flow run", url=addresses.flow_run(record.flow_run))
    tracked = facts.tracked.get(record.dataset)
    if record.mlflow_run is not None and tracked is not None and tracked.experiment is not None:
        yield Link(title="MLflow run", url=addresses.mlflow_run(tracked.experiment, record.mlflow_run))


def _dataset_links(facts: Facts, book: Book, addresses: Addresses) -> Iterator[Link]:
    tracked = facts.tracked.get(book.dataset)
    if tracked is not None and tracked.experiment is not None:
        yield Link(title="Experiment", url=addresses.experiment(tracked.experiment))
    mine = [study for name, study in facts.studies.items() if is_study_of(book.dataset, name)]
    if mine:
        yield Link(title="Latest study", url=addresses.study(mine[-1]))
    for deployment in facts.orchestration.deployments.values() if facts.orchestration else ():
        if deployment.dataset == book.dataset and deployment.name == f"train/{book.dataset}":
            yield Link(title="Train", url=addresses.deployment(deployment.id))
    if (facts.settings.data_docs / "expectations" / f"{book.dataset}.html").is_file():
        yield Link(title="Expectations", url=f"/data-docs/expectations/{book.dataset}.html")
    checked = sorted((facts.settings.data_docs / "validations" / book.dataset).glob("*/*/*.html"))
    if checked:
        latest = max(checked, key=lambda page: page.parent.name).relative_to(facts.settings.data_docs)
        yield Link(title="Latest validation", url=f"/data-docs/{latest.as_posix()}")


def _next_run(facts: Facts, dataset: str, addresses: Addresses) -> NextRun | None:
    scheduled = facts.orchestration.scheduled if facts.orchestration else ()
    for run in sorted(scheduled, key=lambda run: run.expected or facts.at):
        if run.dataset == dataset and run.flow == "train" and run.expected is not None:
            name = run.deployment or run.flow
            return NextRun(at=run.expected.isoformat(), deployment=name, url=addresses.flow_run(run.id))
    return None


def _runs(facts: Facts, addresses: Addresses) -> Iterator[RunState]:
    told = [run for run in facts.orchestration.runs if run.is_worth_showing] if facts.orchestration else []
    recorded = {r.flow_run: r for book in facts.books.values() for r in book.records if r.flow_run}
    for run in sorted(told, key=lambda run: run.started or run.expected or facts.at, reverse=True)[:_RUNS]:
        yield _run(facts, run, recorded.get(run.id), addresses)


def _run(facts: Facts, run: FlowRun, record: Record | None, addresses: Addresses) -> RunState:
    links = tuple(_record_links(facts, record, addresses)) if record else ()
    verdict = record.verdict if record else None
    return RunState(
        id=run.id,
        name=run.name,
        flow=run.flow,
        dataset=run.dataset,
        state=run.state,
        kind=run.kind,
        started=run.started.isoformat() if run.started else None,
        ended=run.ended.isoformat() if run.ended else None,
        duration_s=run.duration_s(facts.at),
        reason=run.reason,
        verdict=record.kind if record else None,
        summary=verdict.summary if verdict else run.message,
        url=addresses.flow_run(run.id),
        links=tuple(link for link in links if link.title != "Flow run"),
    )
