"""A project of a test's own at which the tools are used by their own commands, as people do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hedonic.model.artifact import folder_digest
from hedonic.model.manifest import verify_release
from hedonic.promotion.bento import tree_digest
from hedonic.promotion.history import History
from hedonic.settings import Ports, Settings
from tests.ports import free_port
from tests.project import make_project, whole_project

BIN = Path(sys.executable).parent


def run(command: list[str], environment: Mapping[str, str], folder: Path, limit_s: float = 400) -> str:
    """Return what one of our commands printed; it must succeed."""
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        env=dict(environment),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def exports(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a shell after ``eval "$(hedonic env)"``."""
    told = "import json, os; print(json.dumps(dict(os.environ)))"
    script = f'eval "$({BIN}/hedonic env)" && {sys.executable} -c "{told}"'
    shell = ["bash", "-c", script]
    done = subprocess.run(
        shell, env=dict(environment), cwd=folder, capture_output=True, text=True, check=True
    )
    seen: dict[str, str] = json.loads(done.stdout)
    return seen


ONE_CPU = ("taskset", "-c", "0")


def another_caller(folder: Path) -> dict[str, str]:
    """Return variables of a caller unlike the first: home, clock, language, hashes, threads, CPU level."""
    home = folder / "home"
    home.mkdir()
    return {
        "HOME": str(home), "TZ": "Pacific/Kiritimati", "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "4711",
        "OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "OPENBLAS_CORETYPE": "SkylakeX",
        "NPY_DISABLE_CPU_FEATURES": "", "HEDONIC_WORKERS": "1",
    }  # fmt: skip


class Bench:
    """A project, the environment that `hedonic env` gives in it, and what a run there came to."""

    def __init__(
        self,
        folder: Path,
        endpoint_port: int,
        dataset: str = "small_county",
        changes: Mapping[str, str] | None = None,
        binaries: Path = BIN,
    ) -> None:
        """Make the project.

        Args:
            folder: that is made.
            endpoint_port: it is in the contract, and so in every digest.
            dataset: ``small_county``, a sixth of King County, or one of ours as it is.
            changes: variables that a caller of the commands has otherwise.
            binaries: the folder of the commands.
        """
        ports = Ports(prefect=free_port(), mlflow=free_port(), optuna=free_port(), front_page=free_port())
        made = (
            make_project(folder, port=endpoint_port)
            if dataset == "small_county"
            else whole_project(folder, dataset, endpoint_port)
        )
        self.settings: Settings = made.model_copy(update={"ports": ports})
        self.dataset, self._binaries = dataset, binaries
        given = {f"HEDONIC_PORTS__{name.upper()}": str(port) for name, port in ports.model_dump().items()}
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HEDONIC_", "PREFECT_", "MLFLOW_"))}
        self.environment = exports(folder, {**clean, **given})
        self.environment |= given | dict(changes or {})

    def hedonic_run(self, *prefix: str, umask: int = 0o022) -> dict[str, Any]:
        """Return what a run came to; a tracer before it would wait for the endpoint, so it is not awaited."""
        told, errors = self.settings.root / "told", self.settings.root / "errors"
        command = [*prefix, str(self._binaries / "hedonic"), "run", self.dataset, "--json"]
        with told.open("w") as out, errors.open("w") as err:
            process = subprocess.Popen(
                command, env=self.environment, cwd=self.settings.root, stdout=out, stderr=err, umask=umask
            )
        deadline = time.monotonic() + 1200
        while process.poll() is None and not told.read_text().endswith("}\n"):
            assert time.monotonic() < deadline, errors.read_text()[-3000:]
            time.sleep(0.2)
        assert process.poll() in (0, None), told.read_text()[-3000:] + errors.read_text()[-3000:]
        result: dict[str, Any] = json.loads(told.read_text().splitlines()[-1])
        return result

    def down(self) -> None:
        """Stop what was started."""
        run([str(self._binaries / "hedonic"), "down"], self.environment, self.settings.root)

    def digests(self, result: Mapping[str, Any]) -> dict[str, str | None]:
        """Return the digests of what a promoting run made, each from the bytes on the disk."""
        release = self.settings.releases / self.dataset / result["release"]
        name, _, version = result["bento"].partition(":")
        history = History(self.settings.history)
        champion = history.champion(self.dataset)
        history.close()
        return {
            "judged model": champion.candidate if champion else None,
            "served model": folder_digest(release / "model"),
            "release": verify_release(release).digest,
            "bento": result["bento"],
            "bento's bytes": tree_digest(self.settings.bentos / "bentos" / name / version),
        }
