"""Is the house in order? Asked first and in a second: needs no environment, only python3 and git."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PLACES = (
    "expectations", "flows/train.py", "tasks", "bentos/valuation.py", "src/hedonic", "data", "tests",
    "docs/design.md",
    "Makefile", "pyproject.toml", "requirements.txt", "requirements-serve.txt", "requirements-checks.txt",
    "prefect.yaml", "bentofile.yaml", ".importlinter", "README.md", "CHANGELOG.md", "CONTRIBUTING.md",
    "LICENSE",
)  # fmt: skip
# Files of these kinds run code when they are opened, hold secrets or are some run's state.
NEVER_KEPT = re.compile(
    r"(^|/)\.env(\.(?!example$)[^/]*)?$|\.(pkl|pickle|joblib|pem|key|sqlite3?|db|journal)$|^\.hedonic/"
)
LARGEST_BYTES = 5_000_000
CONFLICT = re.compile(rb"^(<{7} |>{7} )", re.MULTILINE)
PINNED = re.compile(r"^(\./|[\w.-]+/[\w./-]+@[0-9a-f]{40}$)")
ACTIONS = "docs/actions.md"


def main() -> int:
    """Return 0 when the tree around is in order, 1 after saying what is not."""
    root = Path.cwd()
    problems = list(find_problems(root))
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write(f"structure: {len(problems) or 'no'} problem{'s' * (len(problems) != 1)}\n")
    return int(bool(problems))


def find_problems(root: Path) -> Iterator[str]:
    """Yield what is wrong with the tree at ``root``, a sentence each."""
    files = tracked(root)
    for place in PLACES:
        if not (root / place).exists():
            yield f"{place}: missing. It has a place in docs/design.md; restore it."
    for name in files:
        if NEVER_KEPT.search(name):
            yield f"{name}: is tracked, and no such file may be. Take it out: git rm --cached {name}"
        path = root / name
        if path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size > LARGEST_BYTES:
            yield f"{name}: {path.stat().st_size:,} bytes; at most {LARGEST_BYTES:,} are kept here."
        elif CONFLICT.search(path.read_bytes()):
            yield f"{name}: holds the marks of a merge that was not finished."
    yield from _about_workflows(root, [name for name in files if _is_workflow(name)])


def tracked(root: Path) -> list[str]:
    """Return the files that git keeps, or would at the next commit, by their paths relative to ``root``."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in listed.split("\0") if name)


def _is_workflow(name: str) -> bool:
    return name.startswith(".github/") and name.endswith((".yml", ".yaml"))


def _about_workflows(root: Path, names: list[str]) -> Iterator[str]:
    listed = (root / ACTIONS).read_text(encoding="utf-8") if (root / ACTIONS).is_file() else ""
    for name in names:
        for number, line in enumerate((root / name).read_text(encoding="utf-8").splitlines(), 1):
            where, code = f"{name}:{number}", line.split(" #")[0]
            if re.search(r"\|\|\s*(true|:)(\s|$)", code) or re.search(r"continue-on-error:\s*true", code):
                yield f"{where}: hides a failure. A step that may fail is no gate."
            used = re.match(r"\s*(?:-\s+)?uses:\s*(\S+)", code)
            if used is None:
                continue
            if not PINNED.match(used[1]):
                yield f"{where}: {used[1]} can become another action. Pin it by its commit."
            elif not used[1].startswith("./") and used[1] not in listed:
                yield f"{where}: {used[1]} is not listed. Add it to {ACTIONS}."


if __name__ == "__main__":
    sys.exit(main())
