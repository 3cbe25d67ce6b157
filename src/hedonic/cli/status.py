"""``hedonic status``: what is champion, since when, why, and with which figures; and which parts run."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console

from hedonic.cli.console import DebugOption, JsonOption, figures_table, terminal, write_object
from hedonic.data.contract_file import load_contract
from hedonic.errors import HedonicError, UserError
from hedonic.promotion.agreement import disagreements
from hedonic.promotion.history import Record, is_begun, open_history
from hedonic.promotion.pointer import read_pointer
from hedonic.promotion.registry.store import has_store
from hedonic.settings import Settings, load_settings


def status(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATA SET]", help="Default: every contract.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what is champion, since when, why, and with which figures; then which parts run."""
    settings = load_settings()
    known = sorted(path.stem for path in settings.expectations.glob("*.yaml"))
    if dataset is not None and dataset not in known:
        raise UserError(f"{dataset}: no such data set. Known: {', '.join(known) or 'none'}.")
    champions = read_champions(settings, known if dataset is None else [dataset])
    looks = {name: look_at_registry(settings, name) for name in champions}
    if as_json:
        write_object({name: _content(settings, record, looks[name]) for name, record in champions.items()})
        return
    console = terminal(as_json=False)
    for name, record in champions.items():
        if record is None:
            console.print(f"{name}: no champion yet. Make one with: hedonic run {name}", markup=False)
            _print_troubles(console, looks[name])
            continue
        console.print(f"[bold]{name}[/]: release {record.release}", soft_wrap=True)
        console.print(
            f"  champion since {record.at}, {record.kind.replace('_', ' ')} by {record.actor}", markup=False
        )
        console.print(f"  bento {record.bento}", markup=False)
        console.print(f"  reason: {record.reason}", markup=False)
        if record.verdict:
            console.print(f"  verdict: {record.verdict.summary}", markup=False)
        if (problem := _problem(settings, record)) is not None:
            sentence = f"  the champion is not served: {problem} Go back: hedonic rollback {name}"
            console.print(sentence, style="red", markup=False)
        if not _pointer_agrees(settings, record):
            console.print(
                f"  the endpoint's pointer differs: hedonic serve {name} repairs it", style="yellow"
            )
        _print_troubles(console, looks[name])
        console.print(figures_table(record.figures))
    _print_parts(settings, console)


@dataclass(frozen=True, slots=True)
class Look:
    """What the history and MLflow say beside the champion.

    Attributes:
        parked: releases that await approval.
        disagreements: sentences on where MLflow differs from the history.
    """

    parked: tuple[str, ...] = ()
    disagreements: tuple[str, ...] = ()


def look_at_registry(settings: Settings, dataset: str) -> Look:
    """Return what awaits approval, and where MLflow differs from the history; nothing is repaired."""
    if not is_begun(settings) and not has_store(settings):
        return Look()
    with closing(open_history(settings)) as history:
        parked = tuple(record.release or "" for record in history.parked(dataset))
        try:
            found = tuple(one.sentence for one in disagreements(settings, history, dataset))
        except HedonicError as err:  # MLflow's store: what is served does not depend on it
            found = (str(err),)
        return Look(parked, found)


def _print_troubles(console: Console, look: Look) -> None:
    for release in look.parked:
        console.print(f"  release {release[:12]} awaits approval: hedonic approve or reject", style="yellow")
    for sentence in look.disagreements:
        console.print(f"  {sentence}", style="yellow", markup=False)


def _print_parts(settings: Settings, console: Console) -> None:
    """Print each part that is kept running, with its pid or that it is down; nothing without a supervisor."""
    from hedonic.supervisor import Supervisor

    try:
        running = Supervisor(settings).running()
    except HedonicError as err:  # the champions are told all the same
        console.print(f"parts: {err}", style="yellow", markup=False)
        return
    if running:
        console.print("parts:")
    for name, part in running.items():
        told, style = (f"pid {part.pid}", "") if part.pid is not None else ("down", "red")
        console.print(f"  {name:<22} {told}", style=style, markup=False, highlight=False)


def read_champions(settings: Settings, datasets: list[str]) -> dict[str, Record | None]:
    """Return the champion of each data set; a history that does not exist yet is not made."""
    if not is_begun(settings):
        return dict.fromkeys(datasets)
    with closing(open_history(settings)) as history:
        return {name: history.champion(name) for name in datasets}


def _content(settings: Settings, record: Record | None, look: Look) -> dict[str, Any] | None:
    if record is None:
        return None
    return {
        **record.model_dump(mode="json"),
        "pointer_agrees": _pointer_agrees(settings, record),
        "problem": _problem(settings, record),
        "parked": look.parked,
        "disagreements": look.disagreements,
    }


def _problem(settings: Settings, record: Record) -> str | None:
    """Return why the champion is not served, as far as its files and its endpoint tell."""
    from hedonic.rollback.refused_champion import damage, why_not_served

    try:
        contract = load_contract(settings.expectations / f"{record.dataset}.yaml")
        return why_not_served(settings, contract, record)
    except UserError:  # the contract cannot be read, or the endpoint asks for a token: its files tell
        return damage(settings, record)


def _pointer_agrees(settings: Settings, record: Record) -> bool:
    pointer = read_pointer(settings.home, record.dataset)
    return pointer is not None and pointer.release == record.release
