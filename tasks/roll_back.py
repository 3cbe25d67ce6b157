"""Roll back: choose, verify, switch, ask again; the history is the truth, all else follows it."""

from __future__ import annotations

from prefect import task
from prefect.runtime import flow_run

from hedonic.data.contract import Contract
from hedonic.endpoint import Endpoint
from hedonic.promotion.record import Record
from hedonic.promotion.rollback_choice import Rollback
from hedonic.rollback import roll_back as library
from hedonic.rollback import switch as switching
from hedonic.settings import load_settings
from tasks.run_page import logger, name_run, show_markdown


@task(name="choose-target", persist_result=True)
def choose_target(contract: Contract, to: str | None, reason: str) -> Rollback:
    """Return the roll-back to the release that was asked for, or to the champion before.

    It is kept: a run that is started again goes on with the same, and not back another champion.
    """
    rollback = library.find_rollback(load_settings(), contract, to)
    name_run(contract.name, f"roll-back, {reason}", rollback.target.release or "")
    told = (rollback.champion.release or "")[:12], (rollback.target.release or "")[:12]
    logger().info("from release %s to %s", *told)
    return rollback


@task(name="verify-target")
def verify_target(contract: Contract, rollback: Rollback, reason: str) -> None:
    """Verify every digest of the target and its golden rows; nothing is changed before."""
    switching.verify_target(load_settings(), contract, rollback, reason=reason, flow_run=flow_run.id)
    logger().info("release %s is what it was", (rollback.target.release or "")[:12])


@task(name="switch")
def switch(rollback: Rollback, reason: str) -> Record:
    """Return the record by which the target is champion; the endpoint's pointer follows it.

    It is not kept: should the run fail later, the champion before is back, and a retry switches again.
    """
    record = switching.switch(load_settings(), rollback, reason=reason, flow_run=flow_run.id)
    logger().info("release %s is champion", (record.release or "")[:12])
    return record


@task(name="roll-out-target")
def roll_out_target(contract: Contract, rollback: Rollback, reason: str) -> Endpoint:
    """Return the endpoint once it serves the target and has answered its golden rows.

    Where it does not, the champion before is champion again, and the run fails.
    """
    endpoint = library.roll_out(load_settings(), contract, rollback, reason=reason, flow_run=flow_run.id)
    logger().info(endpoint.told)
    return endpoint


@task(name="conclude-roll-back")
def conclude_roll_back(
    contract: Contract, rollback: Rollback, record: Record, endpoint: Endpoint
) -> library.RolledBack:
    """Return the roll-back that was made; MLflow's aliases and the alerts follow it."""
    done = library.RolledBack(
        dataset=contract.name,
        left=rollback.champion.release or "",
        record=record,
        url=endpoint.url,
        to_do=endpoint.to_do,
    )
    library.follow_up(load_settings(), done)
    show_markdown("roll-back", contract.name, _markdown(contract, done), f"Rolled back: {record.reason}")
    logger().info("rolled back from %s", done.left[:12])
    return done


def _markdown(contract: Contract, done: library.RolledBack) -> str:
    record = done.record
    facts = {
        "to serve" if done.to_do else "serves": record.release,
        "was left": done.left,
        "by": record.actor,
        "at": record.at,
    }
    lines = [f"| {name} | `{value}` |" for name, value in facts.items()]
    return "\n".join(
        [
            f"**{contract.title}: rolled back**, {record.reason}",
            "",
            "| | |",
            "|---|---|",
            *lines,
            "",
            done.to_do or "",
        ]
    )
