"""Roll-back: an earlier champion serves again, verified before the switch and after it."""

from __future__ import annotations

from contextlib import closing

from hedonic.data.contract import Contract, Frozen
from hedonic.endpoint import Endpoint
from hedonic.errors import HedonicError
from hedonic.promotion.history import open_history
from hedonic.promotion.pointer import project_pointer, read_pointer
from hedonic.promotion.record import Record
from hedonic.promotion.rollback_choice import Rollback, choose_target
from hedonic.promotion.whole_history import require_whole
from hedonic.roll_out import start_endpoint
from hedonic.rollback.alerts import tell_rolled_back
from hedonic.rollback.fallback import falling_back
from hedonic.rollback.switch import record_failure, switch, verify_target
from hedonic.settings import Settings


class RolledBack(Frozen):
    """A roll-back that was made.

    Attributes:
        left: digest of the release that was champion before.
        record: of the history, by which ``record.release`` is champion.
        url: of the endpoint that serves it, and answered its golden rows.
        to_do: what somebody must do before it does; None where it does.
    """

    dataset: str
    left: str
    record: Record
    url: str
    to_do: str | None = None


def roll_back(
    settings: Settings, contract: Contract, to: str | None = None, *, reason: str, flow_run: str | None = None
) -> RolledBack:
    """Return the roll-back to an earlier champion, which is served and answers rightly by now.

    Nothing is changed before the target is verified. Should its endpoint not come to answer rightly after
    the switch, the champion before is champion again. MLflow's aliases and the alerts follow by
    ``follow_up``, which takes seconds that no caller need wait for.

    Args:
        settings: name the project.
        contract: of the data set.
        to: a model version, a release digest or its beginning; by default the champion before this one.
        reason: why, for the history.
        flow_run: that it is part of.

    Raises:
        UserError: there is no such target, or what was asked for cannot be gone back to.
        ReleaseRefused: the target is not what it should be.
        HedonicError: the target was not served rightly; the message says what serves now.
    """
    rollback = find_rollback(settings, contract, to)
    verify_target(settings, contract, rollback, reason=reason, flow_run=flow_run)
    record = switch(settings, rollback, reason=reason, flow_run=flow_run)
    endpoint = roll_out(settings, contract, rollback, reason=reason, flow_run=flow_run)
    return RolledBack(
        dataset=contract.name,
        left=rollback.champion.release or "",
        record=record,
        url=endpoint.url,
        to_do=endpoint.to_do,
    )


def find_rollback(settings: Settings, contract: Contract, to: str | None) -> Rollback:
    """Return the roll-back that was asked for; nothing is changed yet.

    Raises:
        UserError, ReleaseRefused: as ``choose_target``.
        HedonicError: the history was changed or lacks records; or a roll-back before this one was killed
            before its endpoint was told, which it is now.
    """
    with closing(open_history(settings)) as history:
        records = require_whole(history, settings.home, contract.name)
        pointer = read_pointer(settings.home, contract.name)
        project_pointer(history, settings.home, contract.name)
    champion = next((record for record in reversed(records) if record.crowns), None)
    told = pointer.release if pointer else None
    if to is None and champion is not None and champion.kind == "rolled_back" and champion.release != told:
        raise HedonicError(
            f"{contract.name}: the roll-back to release {(champion.release or '')[:16]} by {champion.actor} "
            f"at {champion.at} was interrupted before its endpoint was told. It is told now, and nothing "
            "else was changed. To go further back than that, roll back again."
        )
    return choose_target(records, settings.releases / contract.name, contract.name, to)


def roll_out(
    settings: Settings, contract: Contract, rollback: Rollback, *, reason: str, flow_run: str | None
) -> Endpoint:
    """Return the endpoint once it serves the target and has answered its golden rows.

    Where it does not, that is on record as a failed attempt.

    Raises:
        HedonicError: it does not; the champion before serves again, or the message says why it does not.
    """
    try:
        with falling_back(settings, contract, rollback.champion, flow_run=flow_run):
            endpoint = start_endpoint(settings, contract.name, contract.serve.port, stays=True)
    except HedonicError as err:
        record_failure(settings, rollback.target, str(err), reason=reason, flow_run=flow_run)
        raise
    if endpoint.release != rollback.target.release:
        raise HedonicError(
            f"{contract.name}: release {endpoint.release[:16]} became champion since the roll-back to "
            f"{(rollback.target.release or '')[:16]}, and is what serves."
        )
    return endpoint


def follow_up(settings: Settings, done: RolledBack) -> None:
    """Let MLflow's aliases follow a roll-back that was made, and tell it."""
    from hedonic.promotion.projection import project

    tell_rolled_back(settings, done.dataset, done.left, done.record.release or "", done.record.reason)
    project(settings, done.dataset)
