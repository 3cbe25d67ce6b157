"""Known vulnerabilities of what is locked. An audit that could not be made is red, never green.

First the service is asked about a version whose vulnerability everyone knows: one that answers but knows
nothing (a proxy's page, an empty mirror) would pass anything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

POLICY = Path(__file__).with_suffix(".toml")
CANARY = "jinja2==2.4.1"
FOUND, CANNOT = 1, 2


class CannotAudit(Exception):
    """Nothing is known about some distribution or about all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A vulnerability of a locked version."""

    name: str
    version: str
    advisory: str
    aliases: tuple[str, ...]
    mended_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Accepted:
    """An advisory that we live with until a day."""

    advisory: str
    reason: str
    until: date


def main() -> int:
    """Return 0 when nothing locked is known to be vulnerable, 1 when something is, 2 when nobody can tell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("locks", nargs="+", type=Path, help="hash-locked requirements")
    parser.add_argument("--tool", default="pip-audit", help="the pip-audit command")
    parser.add_argument("--service", help="URL of an OSV query service; default: pip-audit's")
    parser.add_argument("--policy", type=Path, default=POLICY)
    asked = parser.parse_args()
    try:
        accepted, today = read_policy(asked.policy), date.today()  # noqa: DTZ011 (a day, wherever one is)
        prove_service(asked.tool, asked.service)
        problems = []
        for lock in asked.locks:
            findings = ask(asked.tool, ["--require-hashes", "-r", str(lock)], asked.service)
            problems += [f"{lock.name}: {problem}" for problem in judge(findings, accepted, today)]
    except CannotAudit as err:
        sys.stderr.write(f"audit: {err}\n")
        return CANNOT
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write(f"audit: {len(asked.locks)} locks, {len(problems) or 'no'} problems\n")
    return FOUND if problems else 0


def read_policy(path: Path) -> tuple[Accepted, ...]:
    """Return the advisories that are accepted for now."""
    content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(Accepted(**entry) for entry in content.get("accepted", ()))


def prove_service(tool: str, service: str | None) -> None:
    """Return once the service has named a vulnerability that everyone knows.

    Raises:
        CannotAudit: it knows of none.
    """
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "canary.txt"
        lock.write_text(f"{CANARY}\n", encoding="utf-8")
        if not ask(tool, ["--no-deps", "-r", str(lock)], service):
            raise CannotAudit(
                f"{service or 'the vulnerability service'} knows nothing against {CANARY}, which is "
                "known to be vulnerable, so its silence about the rest says nothing. Look at the service, or "
                "at the proxy before it."
            )


def ask(tool: str, what: Sequence[str], service: str | None) -> tuple[Finding, ...]:
    """Return what pip-audit finds in a lock.

    Raises:
        CannotAudit: it did not come to an end, or left something out.
    """
    command = [
        tool,
        "--strict",
        "--disable-pip",
        "--format=json",
        "--progress-spinner=off",
        "--vulnerability-service",
    ]
    command += ["osv", *([f"--osv-url={service}"] if service else []), *what]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        listed = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as err:
        said = (done.stderr or done.stdout).strip()[-1000:]
        raise CannotAudit(f"{' '.join(what)}: pip-audit ended with {done.returncode}: {said}") from err
    left_out = [f"{entry['name']}: {entry['skip_reason']}" for entry in listed if "skip_reason" in entry]
    if left_out or not listed:
        raise CannotAudit(
            f"{' '.join(what)}: not audited: {'; '.join(left_out) or 'anything: the lock is empty'}"
        )
    return tuple(_findings(listed))


def judge(findings: Sequence[Finding], accepted: Sequence[Accepted], today: date) -> Iterator[str]:
    """Yield what must be mended: findings that nobody accepted, or whose acceptance ran out."""
    by_name: Mapping[str, Accepted] = {entry.advisory: entry for entry in accepted}
    for finding in findings:
        names = (finding.advisory, *finding.aliases)
        entry = next((by_name[name] for name in names if name in by_name), None)
        if entry is not None and today <= entry.until:
            continue
        told = f"{finding.name} {finding.version}: {' = '.join(names)}"
        if entry is not None:
            yield f"{told}: was accepted until {entry.until} ({entry.reason}). Mend it, or think again."
            continue
        mended = (
            f"mended in {', '.join(finding.mended_in)}" if finding.mended_in else "not mended in any version"
        )
        yield (
            f"{told}: {mended}. Raise its bound in pyproject.toml and `make lock`, or accept it in "
            f"{POLICY.name}."
        )


def _findings(listed: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for entry in listed:
        for found in entry["vulns"]:
            yield Finding(
                name=entry["name"],
                version=entry["version"],
                advisory=found["id"],
                aliases=tuple(found["aliases"]),
                mended_in=tuple(found["fix_versions"]),
            )


if __name__ == "__main__":
    sys.exit(main())
