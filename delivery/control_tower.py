"""The summary of a workflow's run, as a control tower would read it; red when any gate is."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGNS = {
    "success": "🟢 go",
    "failure": "🔴 **stop**",
    "cancelled": "⚪ cancelled",
    "skipped": "🔴 **left out**",
}
NOT_NEEDED = "⚪ not needed"
# An output in which a job that ended well says that it did nothing, and why.
UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave to skip a job: a gate that was passed said this value, to the letter, in that output."""

    job: str
    gate: str
    output: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Leave:
        """Return the leave written ``JOB=GATE.OUTPUT:VALUE``.

        Raises:
            ValueError: it is written otherwise.
        """
        found = re.fullmatch(r"([\w-]+)=([\w-]+)\.(\w+):(\w+)", text)
        if found is None:
            raise ValueError(f"{text!r} is not JOB=GATE.OUTPUT:VALUE")
        return cls(*found.groups())

    def holds(self, gates: Mapping[str, Any]) -> bool:
        """Return whether the gate was passed and said so."""
        gate = gates.get(self.gate, {})
        return gate.get("result") == "success" and (gate.get("outputs") or {}).get(self.output) == self.value


def main() -> int:
    """Write the summary; return 0 when all gates are cleared, 1 when one is not, or there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("title")
    parser.add_argument("--needs", required=True, help="the workflow's needs context, as JSON")
    parser.add_argument(
        "--fact", action="append", default=[], metavar="NAME=VALUE", help="told above the gates"
    )
    parser.add_argument(
        "--may-skip", action="append", default=[], metavar="JOB=GATE.OUTPUT:VALUE", type=Leave.parse,
        help="a skipped job is cleared only where that output has that value",
    )  # fmt: skip
    parser.add_argument("--summary", type=Path, help="appended to; default: standard output")
    asked = parser.parse_args()
    gates: dict[str, Any] = json.loads(asked.needs)
    facts = dict(fact.partition("=")[::2] for fact in asked.fact)
    text = summary(asked.title, facts, gates, asked.may_skip)
    if asked.summary is None:
        sys.stdout.write(text)
    else:
        with asked.summary.open("a", encoding="utf-8") as file:
            file.write(text)
    return int(not is_cleared(gates, asked.may_skip))


def is_cleared(gates: Mapping[str, Any], leaves: Collection[Leave] = ()) -> bool:
    """Return whether every gate was passed, or skipped with leave, and one of them was really passed."""
    passed = any(gate["result"] == "success" for gate in gates.values())
    return passed and not _held(gates, leaves)


def summary(
    title: str, facts: Mapping[str, str], gates: Mapping[str, Any], leaves: Collection[Leave] = ()
) -> str:
    """Return the run in Markdown: cleared or not, then a line a gate with what it measured."""
    held = _held(gates, leaves)
    verdict = f"🔴 held by {', '.join(held)}" if held else "🟢 cleared"
    if not held and not is_cleared(gates, leaves):
        verdict = "🔴 held: no gate was passed"
    lines = [f"## {title}: {verdict}", ""]
    told = [f"**{_cell(name)}** {_cell(value)}" for name, value in facts.items() if value]
    lines += [" · ".join(told), ""] if told else []
    lines += ["| gate | | measured |", "|---|---|---|"]
    for name, gate in gates.items():
        measured = ", ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in (gate.get("outputs") or {}).items() if value
        )
        lines.append(f"| {_cell(name)} | {_sign(name, gate, held)} | {_cell(measured)} |")
    return "\n".join(lines) + "\n"


def _held(gates: Mapping[str, Any], leaves: Collection[Leave]) -> list[str]:
    """Return the names of the gates that hold everything."""
    excused = {leave.job for leave in leaves if leave.holds(gates)}
    return [
        name
        for name, gate in gates.items()
        if gate["result"] != "success" and not (gate["result"] == "skipped" and name in excused)
    ]


def _sign(name: str, gate: Mapping[str, Any], held: Collection[str]) -> str:
    if gate["result"] == "skipped" and name not in held:
        return NOT_NEEDED
    if gate["result"] == "success" and (gate.get("outputs") or {}).get(UNDONE):
        return "⚪ nothing done"
    return SIGNS.get(gate["result"], str(gate["result"]))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
