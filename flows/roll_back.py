"""Roll-back: an earlier champion serves again."""

from __future__ import annotations

from prefect import flow

from hedonic.rollback.roll_back import RolledBack
from tasks.alerting import alert_of_failure
from tasks.ingest import read_contract
from tasks.roll_back import choose_target, conclude_roll_back, roll_out_target, switch, verify_target


@flow(
    name="roll-back",
    flow_run_name="{dataset}: roll-back",
    on_failure=[alert_of_failure],
)
def roll_back(
    dataset: str = "king_county",
    to: str | None = None,
    reason: str = "by hand",
) -> RolledBack:
    """Let an earlier champion serve again, once every digest and every golden row of it is verified.

    The endpoint takes it in place, without a failed request. Should it not answer rightly then, the
    champion that was left comes back. A target that is refused changes nothing.

    Args:
        dataset: A contract in expectations/, without .yaml.
        to: Model version, release digest or its beginning; default: the champion before this one.
        reason: Why, for the history.
    """
    contract = read_contract(dataset)
    rollback = choose_target(contract, to, reason)
    verify_target(contract, rollback, reason)
    record = switch(rollback, reason)
    endpoint = roll_out_target(contract, rollback, reason)
    return conclude_roll_back(contract, rollback, record, endpoint)
