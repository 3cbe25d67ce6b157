"""``hedonic env``: the variables with which each tool's own command line sees our state."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

import typer

from hedonic.process_environment import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT
from hedonic.settings import load_settings


def prepare(environment: MutableMapping[str, str]) -> None:
    """Set what numpy, Prefect, MLflow and BentoML read when they are imported.

    What is set stays, but for the numeric environment: another one would give other bits. Prefect's
    API is left out: which one a run reports to is decided when it starts.

    Raises:
        UserError: the current folder is not inside a project.
    """
    environment.update(NUMERIC_ENVIRONMENT)
    for name, value in QUIET_ENVIRONMENT.items():
        environment.setdefault(name, value)
    for name, value in load_settings().environment().items():
        if name != "PREFECT_API_URL":
            environment.setdefault(name, value)


def export_lines(variables: Mapping[str, str], path: str, bin_folder: Path) -> list[str]:
    """Return the lines for a shell's ``eval``; PATH only when our commands are not on it."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    if str(bin_folder) not in path.split(os.pathsep):
        lines.append(f'export PATH={shlex.quote(str(bin_folder))}:"$PATH"')
    return lines


def env() -> None:
    """Print the exports with which prefect, mlflow, optuna-dashboard and bentoml see our state.

    Use it as: eval "$(hedonic env)"
    """
    settings = load_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    lines = export_lines(settings.environment(), os.environ.get("PATH", ""), Path(sys.executable).parent)
    typer.echo("\n".join(lines))
