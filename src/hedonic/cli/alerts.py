"""``hedonic alerts``: what is open, and how a person closes what no later run will."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from hedonic.cli.console import DebugOption, JsonOption, terminal, write_object
from hedonic.errors import UserError
from hedonic.monitoring.alerts import Alert, AlertBook
from hedonic.settings import load_settings


def alerts(
    settle: Annotated[
        str | None, typer.Option(metavar="KEY", help="It is over: close the open alert of this key.")
    ] = None,
    recent: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The last N that were raised, open or not.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say which alerts are open, the worst first.

    Most close by themselves: a run that succeeds settles the failure before it. One whose cause will not
    come again, such as a data set that is no longer trained, is closed with --settle.
    """
    book, console = AlertBook(load_settings()), terminal(as_json=as_json)
    if settle is not None and not book.settle(settle):
        keys = ", ".join(alert.key for alert in book.open()) or "none"
        raise UserError(f"alerts: no alert {settle!r} is open. Open are: {keys}")
    found = book.open() if recent is None else book.recent(recent)
    if as_json:
        write_object({"alerts": found})
        return
    if settle is not None:
        console.print(f"{settle} is settled", markup=False)
    for alert in found:
        console.print(_told(alert), markup=False, highlight=False)
    if not found:
        console.print("no alert is open" if recent is None else "no alert was ever raised", markup=False)


def _told(alert: Alert) -> str:
    at = datetime.fromisoformat(alert.at).astimezone()
    times = f", {alert.times} times" if alert.times > 1 else ""
    lines = [f"{alert.severity}: {alert.title} (since {at:%Y-%m-%d %H:%M}{times})", f"  {alert.text}"]
    lines += [f"  {alert.link}"] if alert.link else []
    return "\n".join([*lines, f"  key: {alert.key}"])
