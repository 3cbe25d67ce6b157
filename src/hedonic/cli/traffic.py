"""``hedonic traffic``: try a challenger beside the champion, and see how it does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from hedonic.answer import endpoint_info, endpoint_url
from hedonic.cli.console import DatasetArgument, DebugOption, JsonOption, terminal, write_object
from hedonic.data.contract import Contract
from hedonic.data.contract_file import load_contract
from hedonic.errors import UserError
from hedonic.served_settings import read_source_settings
from hedonic.settings import Settings, load_settings

TAKEN_S = 15.0
_POLL_S = 0.1
_RELEASE = "RELEASE"


def traffic(
    dataset: DatasetArgument = "king_county",
    shadow: Annotated[
        str | None, typer.Option(metavar=_RELEASE, help="It answers too; nobody gets its answers.")
    ] = None,
    canary: Annotated[
        str | None,
        typer.Option(metavar=_RELEASE, help="It answers a share beside the champion; stops when it is bad."),
    ] = None,
    ab: Annotated[
        str | None, typer.Option(metavar=_RELEASE, help="It answers a share, alone; stops when it errs.")
    ] = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the request keys.")] = 0.1,
    max_errors: Annotated[int | None, typer.Option(min=1, help="So many errors stop it; default 3.")] = None,
    window: Annotated[int | None, typer.Option(min=1, help="Requests that are compared; default 50.")] = None,
    max_disagreement: Annotated[
        float | None, typer.Option(help="Median |challenger / champion - 1| over the window; default 0.25.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="The champion answers alone.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Try a challenger in shadow, as a canary or in an A/B test; without options, say how it does.

    RELEASE is a digest in the release store, or the beginning of one, or a URI.
    """
    from hedonic.serving.traffic_plan import TrafficPlan
    from hedonic.serving.traffic_plan_file import PlanFile

    settings = load_settings()
    contract = load_contract(settings.expectations / f"{dataset}.yaml")
    asked = {"shadow": shadow, "canary": canary, "ab": ab}
    given = {mode: release for mode, release in asked.items() if release is not None}
    if len(given) + off > 1:
        raise UserError("give one of --shadow, --canary, --ab and --off")
    file, console = PlanFile(settings.home, dataset), terminal(as_json=as_json)
    if off:
        file.remove()
    for mode, release in given.items():
        uri, digest = find_release(settings, dataset, release)
        limits = {"max_errors": max_errors, "window": window, "max_disagreement": max_disagreement}
        content = {
            "mode": mode,
            "challenger": uri,
            "release": digest,
            "share": share,
            "limits": {name: value for name, value in limits.items() if value is not None},
            "asked_at": datetime.now(UTC),
        }
        try:
            file.write(TrafficPlan.model_validate(content))
        except ValidationError as err:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in err.errors())
            raise UserError(f"{dataset}: the plan cannot be written: {told}") from err
    plan = file.read()
    live = _live(settings, contract, plan.digest if plan else None, changed=bool(given) or off)
    if as_json:
        write_object(
            {"dataset": dataset, "plan": plan.model_dump(mode="json") if plan else None, "live": live}
        )
        return
    _show(console, contract, plan, live, endpoint_url(settings, contract))


def find_release(settings: Settings, dataset: str, release: str) -> tuple[str, str]:
    """Return the URI and the digest of a release, by its digest, the beginning of that, or its URI.

    Raises:
        UserError: there is none, or several begin so.
    """
    from hedonic.serving.source import resolve

    if "/" in release or ":" in release:
        sources = read_source_settings().model_copy(update={"home": settings.home, "release": None})
        uri = release if ":" in release else str(Path(release).resolve())
        return uri, resolve(uri, sources).release
    store = settings.releases / dataset
    found = sorted(
        folder for folder in store.glob(f"{release}*") if folder.is_dir() and len(folder.name) == 64
    )
    if len(found) != 1:
        there = ", ".join(folder.name[:16] for folder in found or sorted(store.glob("[0-9a-f]*")))
        told = "several releases begin so" if found else "no such release"
        raise UserError(
            f"{dataset}: {release}: {told} in {store}. There: {there or 'none'}. Give more of its digest."
        )
    return str(found[0]), found[0].name


def _live(
    settings: Settings, contract: Contract, digest: str | None, *, changed: bool
) -> dict[str, Any] | None:
    """Return what the endpoint says of its traffic, once it follows the plan; None where nothing answers."""
    deadline = time.monotonic() + TAKEN_S
    while True:
        info = endpoint_info(settings, contract)
        if info is None:
            return None
        live: dict[str, Any] = info.get("traffic") or {}
        if not changed or live.get("plan") == digest or time.monotonic() > deadline:
            return live
        time.sleep(_POLL_S)


def _show(console: Console, contract: Contract, plan: Any, live: Mapping[str, Any] | None, url: str) -> None:
    if plan is None:
        console.print(f"{contract.name}: no challenger is tried; the champion answers alone", markup=False)
    else:
        told = f"{plan.mode} of release {plan.release}, share {plan.share:g}"
        console.print(f"{contract.name}: {told}", markup=False)
    if live is None:
        console.print(f"nothing answers at {url}; start it with: hedonic serve {contract.name}", markup=False)
        return
    if not live:
        return
    if plan is None or live.get("plan") != plan.digest:
        console.print(f"{url} does not follow this plan (yet):", style="yellow", markup=False)
    colour = {"running": "green", "stopped": "red", "refused": "red"}.get(str(live.get("state")), "white")
    console.print(f"[{colour}]{live.get('state')}[/]", end="")
    console.print(f": {live['reason']}" if live.get("reason") else "", markup=False)
    table = Table("figure", "value", box=None, pad_edge=False)
    rows = {"requests to the challenger": live.get("n"), "errors": live.get("errors")}
    rows |= {f"answered: {arm}": n for arm, n in (live.get("answered") or {}).items()}
    for name, value in rows.items():
        if value is not None:
            table.add_row(name, f"{value:,}")
    if live.get("disagreement") is not None:
        table.add_row("median disagreement", f"{live['disagreement']:.2%}")
    console.print(table)
