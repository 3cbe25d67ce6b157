"""``hedonic rollback``: an earlier champion serves again, in seconds and without a failed request."""

from __future__ import annotations

from typing import Annotated

import typer

from hedonic.cli.console import DatasetArgument, DebugOption, JsonOption, terminal, write_object
from hedonic.data.contract_file import load_contract
from hedonic.settings import load_settings


def rollback(
    dataset: DatasetArgument = "king_county",
    to: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Model version, release digest or its beginning; default: the champion before this one.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "by hand",
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Let an earlier champion serve again, once it is verified; the endpoint follows in place.

    A target that is unknown, damaged, collected or never was champion is refused, and nothing changes. One
    that is not served rightly after the switch is left again for the champion before.
    """
    # Here, not above: what answers again waits for nothing that it does not need.
    from hedonic.rollback.roll_back import follow_up, roll_back

    settings, console = load_settings(), terminal(as_json=as_json)
    contract = load_contract(settings.expectations / f"{dataset}.yaml")
    with console.status(f"rolling back {dataset}"):
        done = roll_back(settings, contract, to, reason=reason)
    told = f"{dataset}: release {done.record.release} serves at {done.url} in place of {done.left[:16]}"
    console.print(done.to_do or told, markup=False)
    with console.status("telling MLflow"):
        follow_up(settings, done)
    if as_json:
        write_object(
            {
                "dataset": dataset,
                "release": done.record.release,
                "left": done.left,
                "endpoint": done.url,
                "record": done.record,
            }
        )
