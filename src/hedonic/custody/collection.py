"""The collection: what nothing needs any more, found, and taken away in an order that a kill cannot spoil."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hedonic.custody.answer_log import answer_logs
from hedonic.custody.claim import Claims, Retention, logged_claims, release_claims, running_bento
from hedonic.custody.holding import TAKEN, Holding, datasets_of, holdings
from hedonic.custody.known_release import KnownRelease, known_releases
from hedonic.custody.provenance import Provenance, why_report
from hedonic.durable_file import write_durably
from hedonic.errors import HedonicError, UserError
from hedonic.promotion.built_bento import baked_release
from hedonic.promotion.history import History, StaleChampion, is_begun, open_history
from hedonic.promotion.record import Entry
from hedonic.served_settings import LogSettings
from hedonic.settings import Settings

_ORDER = ("step", "bento", "release", "candidate", "snapshot", "report", "fetched", "debug", "scratch")


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a holding: it stays for a reason, or goes for one."""

    holding: Holding
    goes: bool
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of all that is kept of a data set, or of no data set.

    Attributes:
        champion: the release that was champion when it was made.
        collected: releases that the history does not say are collected yet.
    """

    dataset: str | None
    decisions: tuple[Decision, ...]
    champion: str | None = None
    collected: tuple[KnownRelease, ...] = ()

    @property
    def going(self) -> tuple[Holding, ...]:
        """Return what goes, each before what it names."""
        going = [decision.holding for decision in self.decisions if decision.goes]
        return tuple(sorted(going, key=lambda holding: _ORDER.index(holding.kind)))


def make_plans(
    settings: Settings, log: LogSettings, retention: Retention, dataset: str | None = None
) -> tuple[Plan, ...]:
    """Return what becomes of all that is kept, a plan for each data set, and one for what is of none.

    Nothing is changed.

    Raises:
        UserError: there is no such data set.
        StoreUnavailable: the prediction log cannot be asked; what it points to is not known then.
    """
    known = datasets_of(settings)
    if dataset is not None and dataset not in known:
        raise UserError(f"{dataset}: nothing is kept of it. Known: {', '.join(sorted(known)) or 'none'}.")
    logs = answer_logs(settings, log, [dataset] if dataset else sorted(name for name in known if name))
    logged = logged_claims(settings, logs, retention.now)
    there: dict[str | None, list[Holding]] = {name: [] for name in ([dataset] if dataset else sorted(known))}
    for holding in holdings(settings, dataset):
        there.setdefault(holding.dataset, []).append(holding)
    if not is_begun(settings):
        return tuple(_plan_without_history(name, held, logged, retention) for name, held in there.items())
    with closing(open_history(settings)) as history:
        return tuple(
            _plan(settings, history, name, held, logged, retention)
            if name is not None
            else _plan_without_history(name, held, logged, retention)
            for name, held in there.items()
        )


def _plan(
    settings: Settings,
    history: History,
    dataset: str,
    held: Sequence[Holding],
    logged: Claims,
    retention: Retention,
) -> Plan:
    known = known_releases(history.records(dataset))
    claims = {**logged, **release_claims(settings, history, dataset, known, retention)}

    def of_release(holding: Holding) -> Decision:
        named = known.get(holding.name)
        if holding.name in claims:
            return Decision(holding, False, claims[holding.name])
        if named is not None and named.collected:
            return Decision(holding, True, f"collected {named.collected.at[:10]}, and still there")
        if named is None and retention.is_perhaps_unfinished(holding):
            return Decision(holding, False, "not in the history; a run may still come back for it")
        until = named.reigned_until if named is not None else None
        told = f"champion until {until:%Y-%m-%d}" if until else "never champion"
        return Decision(holding, True, f"{told}, and nothing points to it")

    releases = [of_release(holding) for holding in held if holding.kind == "release"]
    kept = {decision.holding.name for decision in releases if not decision.goes}
    made_from = Provenance.of(settings.releases / dataset, sorted(kept), known)
    steps = made_from.claim_steps([holding for holding in held if holding.kind == "step"], retention)
    bento = running_bento(settings, dataset)
    others = [
        _of_other(holding, kept, {**claims, **made_from.claims, **steps}, bento, retention)
        for holding in held
        if holding.kind != "release"
    ]
    going = {decision.holding.name for decision in releases if decision.goes}
    champion = history.champion(dataset)
    return Plan(
        dataset,
        (*releases, *others),
        champion.release if champion else None,
        tuple(release for digest, release in known.items() if digest in going and not release.collected),
    )


def _of_other(
    holding: Holding, kept: set[str], claims: Claims, bento: str | None, retention: Retention
) -> Decision:
    """Return what becomes of a holding that is no release, by what the kept ones need."""
    why: str | None = None
    match holding.kind:
        case "bento":
            inside = baked_release(holding.path)
            if f"{holding.path.parent.name}:{holding.name}" == bento:
                why = "the endpoint runs its code"
            elif inside in kept:
                why = f"of release {str(inside)[:12]}"
        case "fetched":
            why = "a copy of a release that is kept" if holding.name in kept else claims.get(holding.name)
        case "step":
            why = claims.get(str(holding.path))
        case "report":
            why = why_report(holding.path, claims)
        case "candidate" | "snapshot":
            why = claims.get(holding.name)
    if why is not None:
        return Decision(holding, False, why)
    return _by_age(holding, retention)


def _by_age(holding: Holding, retention: Retention) -> Decision:
    """Return what becomes of a holding that nothing points to."""
    if holding.path.name.startswith(TAKEN):
        return Decision(holding, True, "left by a collection that was interrupted")
    unfinished = holding.kind in ("release", "bento", "candidate", "snapshot", "scratch")
    if retention.is_perhaps_unfinished(holding) if unfinished else retention.is_young(holding.written):
        return Decision(holding, False, f"written {holding.written:%Y-%m-%d}, within the days")
    return Decision(holding, True, "nothing that is kept points to it")


def _plan_without_history(
    dataset: str | None, held: Iterable[Holding], logged: Claims, retention: Retention
) -> Plan:
    """Return the plan for what is of no data set, or of one before its history began: by age alone."""

    def decided(holding: Holding) -> Decision:
        if holding.name in logged:
            return Decision(holding, False, logged[holding.name])
        return _by_age(holding, retention)

    return Plan(dataset, tuple(decided(holding) for holding in held))


def collect(settings: Settings, plan: Plan, *, actor: str, reason: str) -> Iterator[Holding]:
    """Take away what goes, and yield each when it is gone.

    The history is told before a release is touched. Each thing is gone for every reader at once, by a
    renaming, after all that names it: whenever this is killed, the next collection goes on from there.

    Raises:
        HedonicError: the champion is another one by now; nothing, or nothing more, was taken away.
    """
    if plan.collected:
        with closing(open_history(settings)) as history:
            for release in plan.collected:
                _record(history, release, plan.champion, actor, reason)
    for holding in plan.going:
        if holding.kind == "step":
            # First what would be taken for granted, then what says what it was made of.
            (settings.prefect_home / "storage" / holding.name).unlink(missing_ok=True)
        take_away(holding.path)
        yield holding
    if plan.dataset is not None:
        _repair_latest(settings.bentos / "bentos" / f"hedonic-{plan.dataset}")


def _record(history: History, release: KnownRelease, champion: str | None, actor: str, reason: str) -> None:
    entry = Entry(
        dataset=release.dataset,
        kind="collected",
        release=release.digest,
        bento=release.bento,
        actor=actor,
        reason=reason,
    )
    try:
        history.append(entry, expected_champion=champion)
    except StaleChampion as err:
        raise HedonicError(
            f"{release.dataset}: another release became champion meanwhile. What was not taken away by now "
            "stays; run the command again."
        ) from err


def take_away(path: Path) -> None:
    """Remove a file or folder: nobody sees half of it."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    taken = path if path.name.startswith(TAKEN) else path.with_name(f"{TAKEN}{path.name}")
    if taken != path:
        if taken.exists():  # by a collection that was killed, before the same was made again
            shutil.rmtree(taken)
        path.rename(taken)
    shutil.rmtree(taken)


def _repair_latest(place: Path) -> None:
    """Let BentoML's ``latest`` name a bento that is there."""
    latest = place / "latest"
    there = [path for path in place.glob("*") if path.is_dir() and not path.name.startswith(".")]
    if not latest.is_file() or (place / latest.read_text(encoding="utf-8").strip()).is_dir():
        return
    if there:
        write_durably(latest, max(there, key=lambda path: path.stat().st_mtime_ns).name)
    else:
        latest.unlink()
