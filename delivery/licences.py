"""May we use what we install? Each distribution's licence against the policy in licences.toml."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLICY = Path(__file__).with_suffix(".toml")
OURS = ("hedonic",)


@dataclass(frozen=True, slots=True)
class Excepted:
    """A distribution that may be used in spite of what it says its licence is."""

    says: str
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The licences that anything may have, and the exceptions by the name of the distribution."""

    allowed: frozenset[str]
    exceptions: Mapping[str, Excepted]


def main() -> int:
    """Return 0 when every installed distribution is allowed, 1 after naming those that are not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment to look at")
    parser.add_argument("--tool", default="pip-licenses", help="the pip-licenses command")
    parser.add_argument("--policy", type=Path, default=POLICY)
    asked = parser.parse_args()
    installed = read_installed(asked.tool, asked.python)
    problems = list(find_problems(read_policy(asked.policy), installed))
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write(f"licences: {len(installed)} distributions, {len(problems) or 'no'} problems\n")
    return int(bool(problems))


def read_policy(path: Path) -> Policy:
    """Return the policy in a file."""
    content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    exceptions = {_canonical(name): Excepted(**entry) for name, entry in content["exceptions"].items()}
    return Policy(frozenset(content["allowed"]), exceptions)


def read_installed(tool: str, python: str) -> dict[str, str]:
    """Return what each distribution of an environment says its licence is, by canonical name."""
    command = [tool, f"--python={python}", "--from=mixed", "--format=json", "--with-system"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    installed = {_canonical(entry["Name"]): str(entry["License"]) for entry in listed}
    if not installed:
        raise SystemExit(f"{python}: {tool} lists no distribution, so nothing was checked.")
    return {name: licence for name, licence in installed.items() if name not in OURS}


def find_problems(policy: Policy, installed: Mapping[str, str]) -> Iterator[str]:
    """Yield each distribution whose licence is not allowed, and each exception that no longer holds."""
    for name, licence in sorted(installed.items()):
        exception = policy.exceptions.get(name)
        if exception is None and not is_allowed(licence, policy.allowed):
            yield (
                f"{name}: its licence {licence!r} is not allowed. Leave it out, or give it an exception with "
                f"a reason in {POLICY.name}."
            )
        elif exception is not None and exception.says != licence:
            yield f"{name}: excepted for {exception.says!r}, and it now says {licence!r}. Read it again."
        elif exception is not None and is_allowed(licence, policy.allowed):
            yield f"{name}: needs no exception. Take it out of {POLICY.name}."
    for name in sorted(policy.exceptions.keys() - installed.keys()):
        yield f"{name}: excepted and not installed. Take it out of {POLICY.name}."


def is_allowed(licence: str, allowed: frozenset[str]) -> bool:
    """Return whether a licence, or one side of each OR in it and all of each AND, is allowed.

    A list of classifiers (``A; B``) does not say how they combine: all of them must be allowed.
    """
    if licence in allowed:
        return True
    for operator, combine in ((";", all), (" OR ", any), (" AND ", all)):
        parts = _split(licence, operator)
        if len(parts) > 1:
            return combine(is_allowed(part, allowed) for part in parts)
    return False


def _split(licence: str, operator: str) -> list[str]:
    """Split at an operator outside of parentheses; parentheses around the whole of a part are dropped."""
    parts, depth, start, at = [], 0, 0, 0
    while at < len(licence):
        depth += {"(": 1, ")": -1}.get(licence[at], 0)
        if depth == 0 and licence.startswith(operator, at):
            parts.append(licence[start:at])
            start = at = at + len(operator)
            continue
        at += 1
    return [re.sub(r"^\((.*)\)$", r"\1", part.strip()) for part in (*parts, licence[start:])]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
