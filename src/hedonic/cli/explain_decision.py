"""``hedonic explain-decision``: the alternatives of a model version, their figures, and why this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from hedonic.cli.console import DatasetArgument, DebugOption, JsonOption, terminal, write_object
from hedonic.settings import load_settings

if TYPE_CHECKING:
    from hedonic.provenance.decision import Decision

VersionArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[VERSION]",
        help="Of the registered model, or the beginning of the digest of a release or candidate. "
        "Default: the champion.",
    ),
]
_SHOWN = 12
_COLOURS = {"issue": "red", "passed": "green"}


def explain_decision(
    dataset: DatasetArgument = "king_county",
    version: VersionArgument = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Say what else was tried, what a version was held against, and why it was decided so."""
    from hedonic.provenance.decision import explain_decision as explain

    decision = explain(load_settings(), dataset, version)
    if as_json:
        write_object({**decision.model_dump(mode="json"), "leaderboard": decision.leaderboard})
        return
    _show(terminal(as_json=False), decision)


def _show(console: Console, decision: Decision) -> None:
    record = decision.record
    named = f"version {decision.version}" if decision.version is not None else f"record {record.seq}"
    console.print(f"[bold]{decision.dataset}[/] {named}: {record.kind} at {record.at[:19]} by {record.actor}")
    console.print(f"reason of the run: {record.reason}", markup=False)
    console.print(f"candidate {record.candidate}, release {record.release or 'none'}", markup=False)
    for sentence in decision.why:
        console.print(f"- {sentence}", markup=False)
    for sentence in decision.lost:
        console.print(f"- not told: {sentence}", style="yellow", markup=False)
    if decision.alternatives:
        console.print(_alternatives(decision))
    if record.verdict:
        findings = Table("", "check", "reason", "value", "limit", box=None, pad_edge=False)
        for finding in sorted(record.verdict.reasons, key=lambda finding: finding.outcome != "issue"):
            colour = _COLOURS.get(finding.outcome, "default")
            value, limit = (f"{v:.5g}" if v is not None else "" for v in (finding.value, finding.limit))
            findings.add_row(f"[{colour}]{finding.outcome}[/]", finding.check, finding.sentence, value, limit)
        console.print(findings)


def _alternatives(decision: Decision) -> Table:
    table = Table("", "family", "trial", decision.metric or "loss", "", box=None, pad_edge=False)
    for alternative in decision.alternatives[:_SHOWN]:
        loss = f"{alternative.loss:.5g}" if alternative.loss is not None else alternative.state.lower()
        recipe = ", ".join(f"{k} {_short(v)}" for k, v in alternative.parameters.items())
        trial = str(alternative.trial) if alternative.trial >= 0 else "naive"
        table.add_row("chosen" if alternative.chosen else "", alternative.family, trial, loss, recipe)
    if len(decision.alternatives) > _SHOWN:
        table.add_row("", f"and {len(decision.alternatives) - _SHOWN} more: --json has all", "", "", "")
    return table


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
