"""The claim: why something is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hedonic.custody.answer_log import open_logs
from hedonic.custody.holding import Holding
from hedonic.custody.known_release import KnownRelease
from hedonic.data.contract_file import load_contract
from hedonic.endpoint import BENTO, endpoint_state, process_name
from hedonic.errors import ContractError
from hedonic.promotion.history import History
from hedonic.promotion.pointer import read_pointer
from hedonic.promotion.rollback_target import rollback_target
from hedonic.served_settings import LogSettings
from hedonic.serving.prediction_log_entry import microseconds, moment
from hedonic.serving.traffic_plan_file import PlanFile
from hedonic.settings import Settings
from hedonic.supervisor import Supervisor

Claims = dict[str, str]
"""Why each release is kept, by its digest."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what nothing points to is kept.

    Attributes:
        keep: so many releases that were champion, the champion among them.
        days: what was champion, or was written, within so many days.
        now: the present.
    """

    keep: int
    days: float
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def is_young(self, moment: datetime) -> bool:
        """Return whether that was within the days."""
        return moment > self.now - timedelta(days=self.days)

    def is_perhaps_unfinished(self, holding: Holding) -> bool:
        """Return whether a run that was interrupted may still come back for it: a day, whatever the days."""
        return holding.written > self.now - timedelta(days=max(self.days, 1.0))


def release_claims(
    settings: Settings,
    history: History,
    dataset: str,
    known: Mapping[str, KnownRelease],
    retention: Retention,
) -> Claims:
    """Return why releases of a data set are kept, by the history and by what serves or may serve them."""
    claims: Claims = {}
    found = (
        *_chosen(history, dataset, known, retention.keep),
        *((record.release or "", "awaits approval") for record in history.parked(dataset)),
        *_in_use(settings, dataset),
        *_lately((release for release in known.values() if not release.collected), retention),
    )
    for digest, why in found:
        claims.setdefault(digest, why)
    return claims


def _chosen(
    history: History, dataset: str, known: Mapping[str, KnownRelease], keep: int
) -> Iterator[tuple[str, str]]:
    champion, target = history.champion(dataset), rollback_target(history, dataset)
    if champion and champion.release:
        yield champion.release, "champion"
    if target and target.release:
        yield target.release, "roll-back target"
    crowned = sorted(
        (release for release in known.values() if release.crowned and not release.collected),
        key=lambda release: release.crowned.seq if release.crowned else 0,
        reverse=True,
    )
    for release in crowned[:keep]:
        yield release.digest, f"one of the last {keep} champions"


def _lately(known: Iterable[KnownRelease], retention: Retention) -> Iterator[tuple[str, str]]:
    for release in known:
        if release.reigned_until is not None and retention.is_young(release.settled):
            yield release.digest, f"champion until {release.reigned_until:%Y-%m-%d}, within the days"
        elif retention.is_young(release.settled):
            yield release.digest, f"{release.last.kind} {release.settled:%Y-%m-%d}, within the days"


def _in_use(settings: Settings, dataset: str) -> Iterator[tuple[str, str]]:
    pointer, plan = read_pointer(settings.home, dataset), PlanFile(settings.home, dataset).read()
    if pointer is not None:
        yield pointer.release, "the endpoint's pointer names it"
    if plan is not None:
        yield plan.release, f"the traffic plan names it ({plan.mode})"
    served = _served(settings, dataset)
    if served is not None:
        yield served, "served now"


def _served(settings: Settings, dataset: str) -> str | None:
    """Return the release that the endpoint of a data set serves now; None when it does not run."""
    if process_name(dataset) not in Supervisor(settings).names():
        return None
    try:
        port = load_contract(settings.expectations / f"{dataset}.yaml").serve.port
    except ContractError:
        return None
    endpoint = endpoint_state(settings, dataset, port)
    return endpoint.release if endpoint is not None else None


def running_bento(settings: Settings, dataset: str) -> str | None:
    """Return the tag of the bento whose code the endpoint runs; None when it runs none."""
    return Supervisor(settings).environment(process_name(dataset)).get(BENTO) or None


def logged_claims(settings: Settings, logs: Iterable[LogSettings], now: datetime) -> Claims:
    """Return why releases are kept that a logged prediction points to, within its log's retention.

    Raises:
        StoreUnavailable: a prediction log cannot be asked.
    """
    claims: Claims = {}
    for log, store in open_logs(settings, logs):
        since = now - timedelta(days=log.log_retention_days) if log.log_retention_days else None
        found = store.read(
            "SELECT release, COUNT(*), MAX(at_us) FROM hedonic_answered WHERE at_us >= ? GROUP BY release",
            (microseconds(since) if since else 0,),
        )
        claims |= {
            release: f"{n:,} logged answers point to it, the last of {moment(at_us):%Y-%m-%d}"
            for release, n, at_us in found
        }
    return claims
