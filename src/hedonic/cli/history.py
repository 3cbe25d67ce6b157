"""``hedonic history`` and ``hedonic what-served``: what was decided when, by whom and why."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer

from hedonic.cli.console import DatasetArgument, DebugOption, JsonOption, terminal, write_object
from hedonic.errors import HedonicError, UserError
from hedonic.promotion.history import History, Record, is_begun, open_history
from hedonic.promotion.reign import Reign, reign_at
from hedonic.promotion.standing import standings
from hedonic.promotion.whole_history import require_whole, told_broken
from hedonic.settings import Settings, load_settings

_SHOWN = 12


def history(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATA SET]", help="Default: every data set.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List what was decided, oldest first: verdicts, promotions, roll-backs, failures; by whom and why."""
    with closing(_existing_history(load_settings())) as opened:
        problems, records = opened.verify_chain(), opened.records(dataset)
        environment = opened.environment()
    if as_json:
        write_object({"environment": environment, "problems": problems, "records": records})
    else:
        _show(records)
    if problems:
        raise HedonicError(told_broken(problems))


def what_served(
    dataset: DatasetArgument,
    at: Annotated[str, typer.Option(metavar="TIME", help="ISO 8601; without a zone it is UTC.")],
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say which release was champion at a time, since when, until when and why."""
    time = read_time(at, datetime.now(UTC))
    settings = load_settings()
    with closing(_existing_history(settings)) as opened:
        records = require_whole(opened, settings.home, dataset)
    reign = reign_at(records, time)
    if reign is None and not records:
        raise UserError(f"{dataset}: the history knows nothing of it. Known: hedonic history")
    if as_json:
        write_object({"dataset": dataset, "at": time.isoformat(), **_content(reign)})
        return
    console = terminal(as_json=False)
    if reign is None:
        first = next((record.at for record in records if record.crowns), None)
        since = f"; the first became champion at {first}" if first else ""
        console.print(f"{dataset}: there was no champion yet at {time.isoformat()}{since}", markup=False)
        return
    record = reign.record
    console.print(f"{dataset}: release {record.release}", markup=False)
    console.print(f"  bento {record.bento}", markup=False)
    console.print(f"  champion from {reign.since} until {reign.until or 'now'}", markup=False)
    told = f"  {record.kind.replace('_', ' ')} by {record.actor}: {record.reason}"
    console.print(told, markup=False)
    if record.verdict:
        console.print(f"  verdict: {record.verdict.summary}", markup=False)


def read_time(text: str, now: datetime) -> datetime:
    """Return the time that a user wrote, in UTC where no zone is given.

    Raises:
        UserError: it is no ISO time, or has not come yet.
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as err:
        raise UserError(
            f"--at {text}: not an ISO 8601 time. Write 2026-11-28T14:30 (UTC) or 2026-11-28T14:30+02:00."
        ) from err
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if time > now:
        raise UserError(f"--at {text}: has not come yet; it is {now.isoformat(timespec='seconds')}.")
    return time


def _existing_history(settings: Settings) -> History:
    """Return the history; one that does not exist yet is not made."""
    if not is_begun(settings):
        raise UserError("nothing was decided yet. Make a first champion with: hedonic run")
    return open_history(settings)


def _content(reign: Reign | None) -> dict[str, object]:
    names = ("release", "bento", "kind", "actor", "reason", "verdict")
    if reign is None:
        return dict.fromkeys((*names, "since", "until"))
    return {
        **{name: getattr(reign.record, name) for name in names},
        "since": reign.since,
        "until": reign.until,
    }


def _show(records: tuple[Record, ...]) -> None:
    known = {
        (name, digest): standing
        for name in {record.dataset for record in records}
        for digest, standing in standings(r for r in records if r.dataset == name).items()
    }
    console = terminal(as_json=False)
    for record in records:
        about = record.release or record.candidate or ""
        why = record.reason if record.failure is None else f"{record.reason}: {record.failure}"
        shown = record.release[:_SHOWN] if record.release else "-"
        standing = known.get((record.dataset, about), "-")
        console.print(
            f"{record.seq:>4}  {record.at[:19]}Z  {record.dataset}  {record.kind.replace('_', ' '):<11}  "
            f"{shown:<{_SHOWN}}  now {standing:<10}  {record.actor}: {why}",
            markup=False,
        )
