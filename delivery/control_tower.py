"""The summary of a workflow's run, as a control tower would read it; red when any gate is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SIGNS = {
    "success": "🟢 go",
    "failure": "🔴 **stop**",
    "cancelled": "⚪ cancelled",
    "skipped": "⚪ not needed",
}
# Not needed is no failure: a job is left out where the change does not touch what it looks at.
CLEARED = ("success", "skipped")


def main() -> int:
    """Write the summary; return 0 when all gates are cleared, 1 when one is not, or there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("title")
    parser.add_argument("--needs", required=True, help="the workflow's needs context, as JSON")
    parser.add_argument(
        "--fact", action="append", default=[], metavar="NAME=VALUE", help="told above the gates"
    )
    parser.add_argument("--summary", type=Path, help="appended to; default: standard output")
    asked = parser.parse_args()
    gates: dict[str, Any] = json.loads(asked.needs)
    facts = dict(fact.partition("=")[::2] for fact in asked.fact)
    text = summary(asked.title, facts, gates)
    if asked.summary is None:
        sys.stdout.write(text)
    else:
        with asked.summary.open("a", encoding="utf-8") as file:
            file.write(text)
    return int(not is_cleared(gates))


def is_cleared(gates: Mapping[str, Any]) -> bool:
    """Return whether every gate is cleared, and one of them was really passed."""
    results = [gate["result"] for gate in gates.values()]
    return all(result in CLEARED for result in results) and "success" in results


def summary(title: str, facts: Mapping[str, str], gates: Mapping[str, Any]) -> str:
    """Return the run in Markdown: cleared or not, then a line a gate with what it measured."""
    held = [name for name, gate in gates.items() if gate["result"] not in CLEARED]
    verdict = f"🔴 held by {', '.join(held)}" if held else "🟢 cleared"
    if not held and not is_cleared(gates):
        verdict = "🔴 held: no gate was passed"
    lines = [f"## {title}: {verdict}", ""]
    told = [f"**{_cell(name)}** {_cell(value)}" for name, value in facts.items() if value]
    lines += [" · ".join(told), ""] if told else []
    lines += ["| gate | | measured |", "|---|---|---|"]
    for name, gate in gates.items():
        measured = ", ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in (gate.get("outputs") or {}).items() if value
        )
        lines.append(f"| {_cell(name)} | {SIGNS.get(gate['result'], gate['result'])} | {_cell(measured)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
