"""The checks that ``hedonic doctor`` makes: pure look-ups, nothing is repaired."""

from __future__ import annotations

import ctypes
import http.client
import re
import shutil
import socket
import sqlite3
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from hedonic.data.contract_file import load_contract
from hedonic.errors import HedonicError
from hedonic.orchestration import is_healthy
from hedonic.promotion.agreement import Disagreement, disagreements
from hedonic.promotion.history import open_history
from hedonic.promotion.registry.store import has_store
from hedonic.settings import Settings

OLDEST, NEWEST = (3, 11), (3, 13)
MINIMUM_DISK_GB = 2.0
_PROBE_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it is as it should be, what was seen, and the fix if not."""

    name: str
    ok: bool
    seen: str
    fix: str = ""


def check_all(settings: Settings) -> list[Check]:
    """Return every check, good or bad."""
    return [
        check_python(sys.version_info[:2]),
        *check_bounds(settings.root),
        check_lock(settings.root),
        check_libgomp(),
        check_home(settings.home),
        check_disk(settings.home),
        *check_contracts(settings),
        check_history(settings),
        *check_registry(settings),
        check_sqlite("prefect's store", settings.prefect_home / "prefect.db"),
        check_sqlite("mlflow's store", settings.home / "mlflow" / "mlflow.db"),
        *check_ports(settings),
    ]


def check_python(version: tuple[int, ...]) -> Check:
    """Return whether this Python is one that Hedonic supports."""
    told = ".".join(map(str, version))
    return Check(
        "python", OLDEST <= version <= NEWEST, told, "Use Python 3.11 to 3.13: make PYTHON=python3.11"
    )


def check_bounds(root: Path) -> Iterator[Check]:
    """Yield a check for each distribution that is missing or outside the bounds of pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [*project["dependencies"], *project.get("optional-dependencies", {}).get("factory", ())]
    wrong = []
    for text in required:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        found = _installed(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} is {found or 'missing'}, wanted {requirement.specifier}")
    yield Check(
        "bounds",
        not wrong,
        "; ".join(wrong) or f"{len(required)} packages within them",
        "make -B .venv/.ready",
    )


def check_lock(root: Path) -> Check:
    """Return whether the installed versions are those of the lock."""
    pins = re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;]+)(?:\s*;\s*([^\\\n]+?))?\s*\\?$", _text(root / "requirements.txt"), re.M
    )
    found = {name: _installed(name) for name, _, _ in pins}
    wanted: dict[str, set[str]] = {}
    for name, version, _ in pins:
        wanted.setdefault(name, set()).add(version)  # a universal lock may hold one for each Python
    wrong = [
        f"{name} {found[name]}" for name, ones in wanted.items() if found[name] and found[name] not in ones
    ]
    seen = f"not the locked version: {', '.join(wrong)}" if wrong else f"{len(wanted)} packages as locked"
    return Check(
        "lock", bool(pins) and not wrong, seen if pins else "no requirements.txt", "make -B .venv/.ready"
    )


def check_libgomp() -> Check:
    """Return whether LightGBM's OpenMP library can be loaded."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError as err:
        return Check("libgomp", False, str(err), "apt-get install -y libgomp1")
    return Check("libgomp", True, "libgomp.so.1 loads")


def check_home(home: Path) -> Check:
    """Return whether the folder of state, or the one it will be made in, can be written."""
    place = _existing(home)
    try:
        with tempfile.TemporaryFile(dir=place):
            return Check("home", True, f"{home} can be written")
    except OSError as err:
        return Check(
            "home", False, f"{place}: {err.strerror}", "Set HEDONIC_HOME to a folder that you can write"
        )


def check_disk(home: Path) -> Check:
    """Return whether there is room for a run and its release."""
    free = shutil.disk_usage(_existing(home)).free / 1e9
    fix = f"Free {MINIMUM_DISK_GB:g} GB, or set HEDONIC_HOME to another disk"
    return Check("disk", free >= MINIMUM_DISK_GB, f"{free:.1f} GB free for {home}", fix)


def check_contracts(settings: Settings) -> Iterator[Check]:
    """Yield a check for each contract: whether it can be read."""
    for path in sorted(settings.expectations.glob("*.yaml")):
        try:
            load_contract(path)
        except HedonicError as err:
            yield Check(
                f"contract {path.stem}", False, str(err), f"Correct {path.relative_to(settings.root)}"
            )
        else:
            yield Check(f"contract {path.stem}", True, "can be read")


def check_history(settings: Settings) -> Check:
    """Return whether the history opens and its chain is whole; one not yet begun is well."""
    if settings.history_url is None and not (settings.home / "history.db").exists():
        return Check("history", True, "not begun yet")
    fix = "Restore the store from a backup, and find out who changed it"
    try:
        with closing(open_history(settings)) as history:
            problems, head = history.verify_chain(), history.head()
    except HedonicError as err:
        return Check("history", False, str(err), fix)
    seen = "; ".join(problems) or f"{head.seq if head else 0} records, chain whole"
    return Check("history", not problems, seen, fix)


def check_registry(settings: Settings) -> Iterator[Check]:
    """Yield a check for each data set: whether MLflow's alias and its tag of the head fit the history."""
    for path in sorted(settings.expectations.glob("*.yaml")):
        try:
            found = _disagreements(settings, path.stem)
        except HedonicError:
            return  # told by the checks of the two stores
        seen = "; ".join(one.sentence for one in found) or "MLflow says what the history says"
        fix = "Do as it says; what only lags is repaired by the next start"
        yield Check(f"registry {path.stem}", not found, seen, fix)


def _disagreements(settings: Settings, dataset: str) -> tuple[Disagreement, ...]:
    if not has_store(settings):
        return ()
    with closing(open_history(settings)) as history:
        return disagreements(settings, history, dataset)


def check_sqlite(name: str, path: Path) -> Check:
    """Return whether a tool's SQLite store opens and is sound; one not yet made is well."""
    if not path.exists():
        return Check(name, True, "not made yet")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as err:
        answer = str(err)
    return Check(name, answer == "ok", answer, f"Restore {path}, or move it away: it is made anew")


def check_ports(settings: Settings) -> Iterator[Check]:
    """Yield a check for each port: free, or held by the part it is meant for."""
    ports = settings.ports
    parts = [
        ("front page", ports.front_page, "HEDONIC_PORTS__FRONT_PAGE"),
        ("prefect", ports.prefect, "HEDONIC_PORTS__PREFECT"),
        ("mlflow", ports.mlflow, "HEDONIC_PORTS__MLFLOW"),
        ("optuna", ports.optuna, "HEDONIC_PORTS__OPTUNA"),
    ]
    for path in sorted(settings.expectations.glob("*.yaml")):
        try:
            parts.append(
                (f"endpoint {path.stem}", load_contract(path).serve.port, f"serve.port in {path.name}")
            )
        except HedonicError:
            continue  # told by the contract's own check
    seen: dict[int, str] = {}
    for name, port, setting in parts:
        if port in seen:
            yield Check(f"port {port}", False, f"meant for {seen[port]} and for {name}", f"Change {setting}")
            continue
        seen[port] = name
        holder = _holder(settings, name, port)
        ok = holder != "another program"
        yield Check(f"port {port}", ok, f"{name}: {holder}", f"Stop that program, or change {setting}")


def _holder(settings: Settings, name: str, port: int) -> str:
    try:
        with socket.create_connection((settings.host, port), timeout=_PROBE_TIMEOUT_S):
            pass
    except OSError:
        return "free"
    if name == "prefect":
        return "running" if is_healthy(settings.environment()["PREFECT_API_URL"]) else "another program"
    path = {"mlflow": "/health", "optuna": "/dashboard"}.get(name, "/livez")
    connection = http.client.HTTPConnection(settings.host, port, timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return "running" if connection.getresponse().status == http.HTTPStatus.OK else "another program"
    except (OSError, http.client.HTTPException):
        return "another program"
    finally:
        connection.close()


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
