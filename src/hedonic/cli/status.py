"""``hedonic status``: what is champion, since when, why, and with which figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.engine import make_url

from hedonic.cli.console import DebugOption, JsonOption, figures_table, terminal, write_object
from hedonic.errors import UserError
from hedonic.promotion.history import History, Record
from hedonic.promotion.pointer import read_pointer
from hedonic.settings import Settings, load_settings


def status(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATA SET]", help="Default: every contract.")
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what is champion, since when, why, and with which figures."""
    settings = load_settings()
    known = sorted(path.stem for path in settings.expectations.glob("*.yaml"))
    if dataset is not None and dataset not in known:
        raise UserError(f"{dataset}: no such data set. Known: {', '.join(known) or 'none'}.")
    champions = read_champions(settings, known if dataset is None else [dataset])
    if as_json:
        write_object({name: _content(settings, record) for name, record in champions.items()})
        return
    console = terminal(as_json=False)
    for name, record in champions.items():
        if record is None:
            console.print(f"{name}: no champion yet. Make one with: hedonic run {name}", markup=False)
            continue
        console.print(f"[bold]{name}[/]: release {record.release}", soft_wrap=True)
        console.print(
            f"  champion since {record.at}, {record.kind.replace('_', ' ')} by {record.actor}", markup=False
        )
        console.print(f"  bento {record.bento}", markup=False)
        console.print(f"  reason: {record.reason}", markup=False)
        if record.verdict:
            console.print(f"  verdict: {record.verdict.summary}", markup=False)
        if not _pointer_agrees(settings, record):
            console.print(
                f"  the endpoint's pointer differs: hedonic serve {name} repairs it", style="yellow"
            )
        console.print(figures_table(record.figures))


def read_champions(settings: Settings, datasets: list[str]) -> dict[str, Record | None]:
    """Return the champion of each data set; a history that does not exist yet is not made."""
    url = make_url(settings.history)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        return dict.fromkeys(datasets)
    history = History(settings.history)
    try:
        return {name: history.champion(name) for name in datasets}
    finally:
        history.close()


def _content(settings: Settings, record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {**record.model_dump(mode="json"), "pointer_agrees": _pointer_agrees(settings, record)}


def _pointer_agrees(settings: Settings, record: Record) -> bool:
    pointer = read_pointer(settings.home, record.dataset)
    return pointer is not None and pointer.release == record.release
