"""``hedonic forget`` and ``hedonic purge``: what leaves the prediction log, by request, person or age."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from hedonic.cli.console import DebugOption, JsonOption, terminal, write_object
from hedonic.data.contract import Column, Contract
from hedonic.data.contract_file import load_contract
from hedonic.errors import UserError
from hedonic.served_settings import read_log_settings
from hedonic.serving.erasure import (
    Erased,
    Held,
    Match,
    find_request,
    find_rows,
    forget_matches,
    forget_request,
    purge_steps,
)
from hedonic.serving.prediction_log_entry import moment
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.settings import load_settings

_SHOWN = 10

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def forget(
    dataset: Annotated[str, typer.Argument(metavar="DATA SET", help="A contract in expectations/.")],
    request: Annotated[
        str | None, typer.Option("--request", metavar="ID", help="The id of a request, from its answer.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Rows with this input; several: with all of them."),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Delete a request's answers, or a person's rows, and the prices reported for them, from the log."""
    settings = load_settings()
    contract = load_contract(settings.expectations / f"{dataset}.yaml")
    if (request is None) == (not where):
        raise UserError(
            f"{dataset}: say what to forget: either --request ID or --where NAME=VALUE (again and again for "
            "several). Nothing was deleted."
        )
    console = terminal(as_json=as_json)
    with _opened_log(settings.home) as store:
        if request is not None:
            held = _held(store, dataset, request)
            told = f"request {request}: predictions: {held.n_rows:,}, prices: {held.n_prices:,}"
            console.print(told, markup=False)
            found: tuple[Match, ...] = ()
            anything = held.n_rows + held.n_prices > 0
        else:
            found = find_rows(store, dataset, wanted_values(contract, where or []))
            _show(console, found)
            anything = bool(found)
        if not anything:
            console.print("nothing was found, and nothing was deleted")
            erased = Erased()
        else:
            _confirm(f"{dataset}: delete this from the prediction log?", yes=yes, as_json=as_json)
            erased = forget_matches(store, found) if request is None else forget_request(store, request)
            _tell(console, erased, store)
    if as_json:
        write_object({"dataset": dataset, **asdict(erased)})


def purge(
    older_than: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="Default: HEDONIC_LOG_RETENTION_DAYS; without either: refused."),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Delete the answers of every data set that are past their retention, with their prices."""
    days = read_log_settings().log_retention_days if older_than is None else older_than
    if days is None:
        raise UserError(
            "purge: how many days are answers kept? Set HEDONIC_LOG_RETENTION_DAYS, or give --older-than "
            "DAYS. Nothing was deleted."
        )
    if not (math.isfinite(days) and days > 0):
        raise UserError(f"--older-than: must be a number of days above 0; got {days:g}. Nothing was deleted.")
    console = terminal(as_json=as_json)
    erased = Erased()
    with _opened_log(load_settings().home) as store:
        with console.status(f"deleting what is older than {days:g} days"):
            for step in purge_steps(store, days):
                erased += step
            store.scrub()
        _tell(console, erased, store)
    if as_json:
        write_object({"older_than_days": days, **asdict(erased)})


def wanted_values(contract: Contract, where: Sequence[str]) -> dict[str, Any]:
    """Return the values to look for by the name of the input, of the contract's types.

    A name that the contract does not have, or no more, is read as JSON if it is that, else as a text: rows
    of earlier contracts can be forgotten too.

    Raises:
        UserError: one is not NAME=VALUE, is not of its column's type, or is given twice; all of them at once.
    """
    columns = {column.name: column for column in contract.columns}
    wanted: dict[str, Any] = {}
    problems = []
    for text in where:
        name, separator, value = text.partition("=")
        if not (separator and name):
            problems.append(f"{text}: must be NAME=VALUE")
        elif name in wanted:
            problems.append(f"{name}: given twice")
        else:
            try:
                wanted[name] = _value(columns.get(name), value)
            except ValueError as err:
                problems.append(f"{name}: {err}; got {value}")
    if problems:
        raise UserError(f"--where: {'; '.join(problems)}. Nothing was deleted.")
    return wanted


def _value(column: Column | None, text: str) -> Any:
    if column is not None and column.type in ("date", "category", "text"):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if column is None:
        return value
    if column.type == "boolean":
        if type(value) is not bool:
            raise ValueError("must be true or false")
    elif type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("must be a number")
    return value


@contextmanager
def _opened_log(home: Path) -> Iterator[PredictionLogStore]:
    """Yield the prediction log of the project, also where logging is off now.

    Raises:
        UserError: nothing was ever logged there.
    """
    url = read_log_settings().store_below(home)
    store = PredictionLogStore(url, at_once=False)
    if store.is_file and not store.file.exists():
        raise UserError(
            f"{store.file}: no prediction log here, so there is nothing to delete. If answers are logged "
            "elsewhere, set HEDONIC_PREDICTION_LOG_URL as the service has it."
        )
    try:
        yield store
    finally:
        store.close()


def _held(store: PredictionLogStore, dataset: str, request_id: str) -> Held:
    """Return what the log holds of a request.

    Raises:
        UserError: the request is another data set's.
    """
    held = find_request(store, request_id)
    if others := held.datasets - {dataset}:
        raise UserError(
            f"{dataset}: request {request_id} is of {', '.join(sorted(others))}. Name that data set. "
            "Nothing was deleted."
        )
    return held


def _show(console: Console, found: Sequence[Match]) -> None:
    for match in found[:_SHOWN]:
        rows = ", ".join(map(str, sorted(match.rows)))
        at = moment(match.at_us).isoformat(timespec="seconds")
        console.print(f"request {match.request_id} of {at}: row {rows}", markup=False)
    if len(found) > _SHOWN:
        console.print(f"… and {len(found) - _SHOWN:,} more requests")
    n_rows = sum(len(match.rows) for match in found)
    console.print(f"found: predictions: {n_rows:,}, in requests: {len(found):,}")


def _confirm(question: str, *, yes: bool, as_json: bool) -> None:
    """Ask on standard error; whoever does not say yes ends the command.

    Raises:
        UserError: the answer is no, or there is nobody to answer.
    """
    if yes:
        return
    try:
        agreed = typer.confirm(question, err=as_json)
    except typer.Abort:
        agreed = False
    if not agreed:
        raise UserError("not confirmed. Nothing was deleted; --yes deletes without asking.")


def _tell(console: Console, erased: Erased, store: PredictionLogStore) -> None:
    console.print(f"deleted: predictions: {erased.n_rows:,}, prices: {erased.n_prices:,}")
    if store.is_file:
        console.print("their bytes are gone from the store's files; backups are yours to clean", style="dim")
    else:
        console.print(
            "Postgres gives them out no more, and may overwrite them; until it does, bytes can be left in "
            "its pages and its write-ahead log. To rewrite the tables (they are locked meanwhile): "
            "VACUUM FULL hedonic_answered, hedonic_feedback",
            style="dim",
        )
