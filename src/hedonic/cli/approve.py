"""``hedonic approve`` and ``hedonic reject``: a person decides on what the gate passed."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from hedonic.cli.console import DatasetArgument, DebugOption, JsonOption, terminal, write_object
from hedonic.data.contract_file import load_contract
from hedonic.errors import HedonicError
from hedonic.lineage import actor
from hedonic.monitoring.alerts import AlertBook
from hedonic.promotion.approval import approve as approve_parked
from hedonic.promotion.approval import find_parked
from hedonic.promotion.approval import reject as reject_parked
from hedonic.promotion.history import open_history
from hedonic.promotion.record import Entry, Record
from hedonic.settings import Settings, load_settings

ReasonOption = Annotated[str, typer.Option(help="Why, for the history.")]
ReleaseOption = Annotated[str | None, typer.Option(help="Its first digits; default: the one that waits.")]
VersionOption = Annotated[str | None, typer.Option(help="Of the registered model, instead of --release.")]


def approve(
    dataset: DatasetArgument,
    reason: ReasonOption,
    release: ReleaseOption = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Make the release that awaits approval champion, and serve it."""
    from hedonic.monitoring.repair import require_repaired
    from hedonic.rollback.fallback import roll_out_or_fall_back

    settings, console = load_settings(), terminal(as_json=as_json)
    contract = load_contract(settings.expectations / f"{dataset}.yaml")
    require_repaired(settings, dataset)
    with closing(open_history(settings)) as history:
        parked = find_parked(history, settings.releases, dataset, release=release, version=version)
        record = approve_parked(history, settings.releases, parked, actor=actor(), reason=reason)
    console.print(f"{dataset}: release {record.release} is champion", markup=False)
    _tell(settings, dataset)
    with console.status("rolling it out"):
        try:
            endpoint = roll_out_or_fall_back(settings, contract, flow_run=None)
        except HedonicError as err:
            _record_failure(settings, record, str(err))
            raise
    console.print(endpoint.told, markup=False)
    if as_json:
        write_object({"record": record, "endpoint": endpoint.url})


def reject(
    dataset: DatasetArgument,
    reason: ReasonOption,
    release: ReleaseOption = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Refuse the release that awaits approval; the champion stays."""
    from hedonic.monitoring.repair import require_repaired

    settings = load_settings()
    require_repaired(settings, dataset)
    with closing(open_history(settings)) as history:
        parked = find_parked(history, settings.releases, dataset, release=release, version=version)
        record = reject_parked(history, parked, actor=actor(), reason=reason)
    _tell(settings, dataset)
    told = f"{dataset}: release {record.release} was rejected; the champion stays"
    terminal(as_json=as_json).print(told, markup=False)
    if as_json:
        write_object({"record": record})


def _tell(settings: Settings, dataset: str) -> None:
    """Let the projections follow the decision; it is no longer awaited."""
    from hedonic.monitoring.repair import repair

    repair(settings, dataset)
    AlertBook(settings).settle(f"approval-awaited:{dataset}")


def _record_failure(settings: Settings, approved: Record, failure: str) -> None:
    told = approved.model_dump(include={"dataset", "release", "bento", "candidate", "actor", "reason"})
    with closing(open_history(settings)) as history:
        history.append(Entry(**told, kind="failed", failure=failure))
