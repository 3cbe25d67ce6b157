"""The fall-back: where a new champion is not served rightly, the one before it comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from hedonic.answer import ask, example_row
from hedonic.data.contract import Contract
from hedonic.endpoint import Endpoint
from hedonic.errors import HedonicError, UserError
from hedonic.promotion.history import open_history
from hedonic.promotion.record import Record
from hedonic.promotion.rollback_choice import Rollback
from hedonic.promotion.rollback_target import rollback_target
from hedonic.roll_out import start_endpoint
from hedonic.rollback.alerts import tell_fallen_back, tell_not_fallen_back
from hedonic.rollback.switch import switch, verify_target
from hedonic.settings import Settings

_LONGEST_REASON = 500


def roll_out_or_fall_back(settings: Settings, contract: Contract, *, flow_run: str | None) -> Endpoint:
    """Return the endpoint once it serves a new champion and has answered its golden rows.

    Raises:
        UserError: its port is in use; the champion stays.
        HedonicError: it does not; the champion before is champion again, where there is one that can be.
    """
    before = _champion_before(settings, contract.name)
    with falling_back(settings, contract, before, flow_run=flow_run):
        return start_endpoint(settings, contract.name, contract.serve.port, stays=before is not None)


def ask_or_fall_back(settings: Settings, contract: Contract, *, flow_run: str | None) -> dict[str, Any]:
    """Return the endpoint's answer on the contract's example row.

    Raises:
        UserError: nothing listens, or the row is not what the contract says.
        HedonicError: the endpoint failed; the champion before is champion again, where there is one.
    """
    with falling_back(settings, contract, _champion_before(settings, contract.name), flow_run=flow_run):
        return ask(settings, contract, [example_row(contract)])


@contextmanager
def falling_back(
    settings: Settings, contract: Contract, to: Record | None, *, flow_run: str | None
) -> Iterator[None]:
    """Let the champion ``to`` come back should what is done inside fail; where it is None nothing does.

    What is the user's error, such as a port in use, is no fault of the champion's: it stays.

    Raises:
        HedonicError: what was done inside failed; the message says what serves now.
    """
    with closing(open_history(settings)) as history:
        champion = history.champion(contract.name)
    try:
        yield
    except UserError:
        raise
    except HedonicError as err:
        if champion is None or to is None:
            raise
        told = _fall_back(settings, contract, Rollback(champion=champion, target=to), err, flow_run)
        raise HedonicError(told) from err


def _fall_back(
    settings: Settings, contract: Contract, rollback: Rollback, cause: HedonicError, flow_run: str | None
) -> str:
    """Return what happened: the target serves again, or why it does not."""
    from hedonic.promotion.projection import project

    failed, target = (rollback.champion.release or "")[:16], (rollback.target.release or "")[:16]
    reason = f"by itself: release {failed} was not served rightly: {_in_short(cause)}"
    try:
        _come_back(settings, contract, rollback, reason, flow_run)
    except HedonicError as err:
        told = f"{cause} Release {target}, champion before it, could not come back: {err}"
        tell_not_fallen_back(settings, contract.name, told)
        return told
    tell_fallen_back(settings, contract.name, failed, target, _in_short(cause))
    project(settings, contract.name)
    return f"{cause} Release {target}, champion before it, is champion again and serves."


def _come_back(
    settings: Settings, contract: Contract, rollback: Rollback, reason: str, flow_run: str | None
) -> None:
    """Let the target be champion and be served; where it cannot be, what answers wrongly ends."""
    try:
        verify_target(settings, contract, rollback, reason=reason, flow_run=flow_run)
        switch(settings, rollback, reason=reason, flow_run=flow_run)
    except HedonicError:
        with suppress(HedonicError):
            start_endpoint(settings, contract.name, contract.serve.port)
        raise
    start_endpoint(settings, contract.name, contract.serve.port)


def _champion_before(settings: Settings, dataset: str) -> Record | None:
    with closing(open_history(settings)) as history:
        return rollback_target(history, dataset)


def _in_short(cause: HedonicError) -> str:
    """Return the first line of what went wrong, without the end of a log."""
    return str(cause).partition("\n")[0][:_LONGEST_REASON]
