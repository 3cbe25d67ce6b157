"""The switch: another release of the history becomes champion, verified first; the pointer follows."""

from __future__ import annotations

from contextlib import closing

from hedonic.data.contract import Contract
from hedonic.endpoint import bento_folder, process_name
from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.lineage import actor
from hedonic.promotion.history import History, StaleChampion, open_history
from hedonic.promotion.pointer import project_pointer
from hedonic.promotion.record import Entry, Record
from hedonic.promotion.rollback_choice import Rollback
from hedonic.serving.loading import load_source
from hedonic.serving.source import Source
from hedonic.settings import Settings
from hedonic.supervisor import Supervisor, port_owner


def verify_target(
    settings: Settings, contract: Contract, rollback: Rollback, *, reason: str, flow_run: str | None
) -> None:
    """Verify that the target can be served: every digest, its golden rows, its bento, its port.

    One that cannot is on record as a failed attempt.

    Raises:
        ReleaseRefused: a file is not what the manifest says, a golden row is answered otherwise, or the
            bento is gone.
        UserError: the endpoint does not run, and something else listens on its port.
    """
    release = rollback.target.release or ""
    folder = settings.releases / contract.name / release
    try:
        load_source(Source(f"release {release[:16]}", "folder", release, folder, dataset=contract.name))
        if rollback.target.bento is not None:
            bento_folder(settings, rollback.target.bento)
    except ReleaseRefused as err:
        record_failure(settings, rollback.target, str(err), reason=reason, flow_run=flow_run)
        raise
    if process_name(contract.name) in Supervisor(settings).names():
        return
    owner = port_owner(settings.host, contract.serve.port)
    if owner is not None:
        raise UserError(
            f"port {contract.serve.port} on {settings.host}: in use by {owner}, and the endpoint of "
            f"{contract.name} does not run, so no roll-back can be verified. Nothing was changed. Stop it, "
            "or give another `serve.port` in the contract."
        )


def switch(settings: Settings, rollback: Rollback, *, reason: str, flow_run: str | None) -> Record:
    """Return the record by which the target is champion; the endpoint's pointer follows it.

    A flow run that made it so before it was interrupted finds its own record.

    Raises:
        HedonicError: another one became champion meanwhile; nothing was changed.
    """
    target, champion = rollback.target, rollback.champion.release
    entry = Entry(
        dataset=target.dataset,
        kind="rolled_back",
        release=target.release,
        bento=target.bento,
        candidate=target.candidate,
        figures=target.figures,
        actor=actor(),
        reason=reason,
        snapshot=target.snapshot,
        flow_run=flow_run,
        mlflow_run=target.mlflow_run,
    )
    with closing(open_history(settings)) as history:
        try:
            record = _own(history, entry) or history.append(entry, expected_champion=champion)
        except StaleChampion as err:
            raise HedonicError(
                f"{target.dataset}: release {(champion or '')[:16]} is not champion any more, so nothing was "
                f"rolled back. Look at `hedonic status {target.dataset}`, and roll back again if need be."
            ) from err
        project_pointer(history, settings.home, target.dataset)
    return record


def record_failure(
    settings: Settings, about: Record, failure: str, *, reason: str, flow_run: str | None
) -> None:
    """Put on record that a release could not be served, and why; nothing else changes."""
    entry = Entry(
        dataset=about.dataset,
        kind="failed",
        release=about.release,
        actor=actor(),
        reason=reason,
        flow_run=flow_run,
        failure=failure,
    )
    with closing(open_history(settings)) as history:
        history.append(entry)


def _own(history: History, entry: Entry) -> Record | None:
    """Return the record of this very roll-back, where its flow run made it and was started again."""
    found = history.champion(entry.dataset)
    if found is None or entry.flow_run is None:
        return None
    told = (entry.kind, entry.release, entry.flow_run)
    return found if (found.kind, found.release, found.flow_run) == told else None
