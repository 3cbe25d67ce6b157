"""Which parts of the house a change touches, so that a workflow runs what the change could break."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

# What each part of the pipeline depends on. A path that no pattern knows belongs to every part.
AREAS: Mapping[str, re.Pattern[str]] = {
    "code": re.compile(
        r"^(src|flows|tasks|bentos|delivery|deployments|benchmarks|tests|expectations|data|\.ci)/"
        r"|^(Makefile|py(project|test)\.\w+|ruff\.toml|mypy\.ini|\.importlinter|requirements.*\.txt|prefect\.\w+)$"
    ),
    "image": re.compile(
        r"^(src|flows|tasks|bentos|expectations|data|deployments/images)/"
        r"|^(bentofile\.yaml|Makefile|requirements(-serve)?\.txt|pyproject\.toml|prefect\.\w+)$|^delivery/"
    ),
    "locks": re.compile(r"^(pyproject\.toml|requirements.*\.txt)$|^delivery/(audit|licences)\."),
}
HARMLESS = re.compile(r"^docs/|^[^/]+\.md$|^LICENSE$|^\.github/(ISSUE_TEMPLATE/|CODEOWNERS|.*\.md$)")


def main() -> int:
    """Write ``<area>=true|false`` a line for the change between two commits; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", help="commit to compare with; without one that is known, all is touched")
    touched = touched_areas(changed_files(Path.cwd(), parser.parse_args().since))
    for area, is_touched in touched.items():
        sys.stdout.write(f"{area}={str(is_touched).lower()}\n")
    return 0


def changed_files(root: Path, since: str | None) -> list[str] | None:
    """Return the files changed since a commit, None when there is nothing to compare with."""
    if not since or not since.strip("0"):
        return None
    git = ["git", "-C", str(root)]
    known = subprocess.run([*git, "cat-file", "-e", f"{since}^{{commit}}"], check=False, capture_output=True)
    if known.returncode:
        return None
    done = subprocess.run(
        [*git, "diff", "--name-only", "--no-renames", f"{since}...HEAD"],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def touched_areas(files: Iterable[str] | None) -> dict[str, bool]:
    """Return whether each area is touched: all of them where nobody knows."""
    if files is None:
        return dict.fromkeys(AREAS, True)
    names = list(files)
    strange = any(not HARMLESS.search(name) and not _known(name) for name in names)
    return {area: strange or any(pattern.search(name) for name in names) for area, pattern in AREAS.items()}


def _known(name: str) -> bool:
    return any(pattern.search(name) for pattern in AREAS.values())


if __name__ == "__main__":
    sys.exit(main())
