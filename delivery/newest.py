"""The newest versions of everything that we depend on, and the first of them that breaks us.

All are tried at once. When that is red, half of the upgrades are tried, then half of the rest: what is left
is the one upgrade with which green turns red, beside the locked versions of everything after it.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

DEFAULT_CHECK = "python -m pytest tests/unit -q -x -m 'not slow' -p no:cacheprovider"
BROKEN, CANNOT = 1, 2
UPPER = ("<", "<=", "==", "~=")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A distribution of which there is a newer version than the locked one."""

    name: str
    locked: str
    newest: str

    def __str__(self) -> str:
        return f"{self.name} {self.locked} -> {self.newest}"


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a set of versions: nothing to say when it was green."""

    failure: str | None = None

    @property
    def is_green(self) -> bool:
        """Return whether the check passed."""
        return self.failure is None


@dataclass(slots=True)
class Bench:
    """Where versions are tried: environments of their own, made of a lock and upgrades to it."""

    project: Path
    folder: Path
    uv: str
    check: str
    python: str
    extras: Sequence[str]
    requirements: Path = field(init=False)

    def lift(self, keep: Sequence[str], *, lifted: bool) -> None:
        """Write the requirements to resolve: the project's, without upper bounds when they are lifted."""
        content = tomllib.loads((self.project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        wanted = [*content.get("dependencies", ())]
        for extra in self.extras:
            wanted += content.get("optional-dependencies", {})[extra]
        lines = [without_upper_bound(text, keep) if lifted else text for text in wanted]
        self.requirements = self.folder / "requirements.in"
        self.requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def newest(self) -> dict[str, str]:
        """Return the newest version of each distribution, together, by name."""
        return read_pins(self._resolve("newest.txt", ["--upgrade"]))

    def try_upgrades(self, lock: Path, upgrades: Sequence[Upgrade]) -> Trial:
        """Return what came of the lock with these upgrades in it, and whatever else they need."""
        target = self.folder / "tried.txt"
        target.write_text(lock.read_text(encoding="utf-8"), encoding="utf-8")
        chosen = [
            part
            for upgrade in upgrades
            for part in ("--upgrade-package", f"{upgrade.name}=={upgrade.newest}")
        ]
        try:
            self._resolve(target.name, chosen)
            environment = self.folder / "environment"
            self._uv("venv", "--quiet", "--clear", "--python", self.python, str(environment))
            self._uv("pip", "sync", "--quiet", "--python", str(environment / "bin/python"), str(target))
        except subprocess.CalledProcessError as err:
            return Trial(f"cannot be installed: {_end(err.stderr)}")
        path = f"{environment / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        command = ["env", f"PATH={path}", "PYTHONPATH=src:.", *shlex.split(self.check)]
        done = subprocess.run(command, cwd=self.project, check=False, capture_output=True, text=True)
        return Trial(_end(done.stdout + done.stderr) if done.returncode else None)

    def _resolve(self, name: str, arguments: Sequence[str]) -> Path:
        target = self.folder / name
        self._uv(
            "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python", self.python,
            str(self.requirements), *arguments, "-o", str(target),
        )  # fmt: skip
        return target

    def _uv(self, *arguments: str) -> None:
        subprocess.run([self.uv, *arguments], cwd=self.project, check=True, capture_output=True, text=True)


def main() -> int:
    """Return 0 when the newest versions are green, 1 after naming the first that is not, 2 for neither."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--lock", type=Path, default=Path("requirements.txt"))
    parser.add_argument("--no-extras", action="store_true", help="of a project without ours, factory and dev")
    parser.add_argument(
        "--lift-bounds", action="store_true", help="also beyond the upper bounds of pyproject.toml"
    )
    parser.add_argument(
        "--check", default=DEFAULT_CHECK, help="what must be green; run in the project's folder"
    )
    parser.add_argument("--uv", default="uv")
    parser.add_argument("--python", default=sys.executable)
    asked = parser.parse_args()
    project = asked.project.resolve()
    with tempfile.TemporaryDirectory(prefix="hedonic-newest-") as folder:
        bench = Bench(
            project=project,
            folder=Path(folder),
            uv=str(Path(asked.uv).absolute()) if "/" in asked.uv else asked.uv,
            check=asked.check,
            python=asked.python,
            extras=() if asked.no_extras else ("factory", "dev"),
        )
        bench.lift(kept_bounds(project), lifted=asked.lift_bounds)
        return report(bench, project / asked.lock)


def report(bench: Bench, lock: Path) -> int:
    """Return the exit code, after saying what was tried and what broke."""
    try:
        newest = bench.newest()
    except subprocess.CalledProcessError as err:
        sys.stderr.write(f"newest: the newest versions cannot be resolved together: {_end(err.stderr)}\n")
        return CANNOT
    upgrades = find_upgrades(read_pins(lock), newest)
    for upgrade in upgrades:
        sys.stdout.write(f"newer: {upgrade}\n")
    locked = bench.try_upgrades(lock, [])
    if not locked.is_green:
        sys.stderr.write(f"newest: the locked versions are red by themselves: {locked.failure}\n")
        return CANNOT
    whole = bench.try_upgrades(lock, upgrades)
    if whole.is_green:
        sys.stdout.write(f"newest: {len(upgrades)} newer versions, and all is green\n")
        return 0
    place, trial = first_red(len(upgrades), lambda n: bench.try_upgrades(lock, upgrades[:n]), whole)
    sys.stderr.write(f"newest: the first that breaks us: {upgrades[place - 1]}\n{trial.failure}\n")
    return BROKEN


def kept_bounds(project: Path) -> list[str]:
    """Return the distributions whose upper bounds stay when bounds are lifted: those known to break us."""
    content: dict[str, Any] = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    return list(content.get("tool", {}).get("hedonic", {}).get("newest", {}).get("known-to-break", {}))


def find_upgrades(locked: dict[str, str], newest: dict[str, str]) -> list[Upgrade]:
    """Return the upgrades that the newest versions are, by name; what is new, gone or older is none."""
    both = sorted(locked.keys() & newest.keys())
    return [
        Upgrade(name, locked[name], newest[name])
        for name in both
        if Version(newest[name]) > Version(locked[name])
    ]


def first_red(n: int, trial_of: Callable[[int], Trial], last: Trial) -> tuple[int, Trial]:
    """Return the least number of upgrades that is red, and its trial; none is green, ``n`` is red."""
    green, red, found = 0, n, last
    while red - green > 1:
        middle = (green + red) // 2
        trial = trial_of(middle)
        if trial.is_green:
            green = middle
        else:
            red, found = middle, trial
    return red, found


def without_upper_bound(text: str, keep: Sequence[str]) -> str:
    """Return a requirement without upper bounds, unless its distribution is among those to keep."""
    requirement = Requirement(text)
    if canonicalize_name(requirement.name) in {canonicalize_name(name) for name in keep}:
        return text
    lower = [str(part) for part in requirement.specifier if part.operator not in UPPER]
    requirement.specifier = SpecifierSet(",".join(lower))
    return str(requirement)


def read_pins(lock: Path) -> dict[str, str]:
    """Return the version of each distribution that a lock pins for this interpreter."""
    pins = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        pinned = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\]+))?", line)
        if pinned and (pinned[3] is None or Marker(pinned[3]).evaluate()):
            pins[str(canonicalize_name(pinned[1]))] = pinned[2]
    return pins


def _end(said: str) -> str:
    return said.strip()[-1500:]


if __name__ == "__main__":
    sys.exit(main())
