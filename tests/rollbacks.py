"""A project of the tiny town with a history of champions, for tests that roll back."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hedonic.data.contract import Contract, dump_contract
from hedonic.model.manifest import ReleaseRecord
from hedonic.promotion.history import Entry, History, Record
from hedonic.promotion.pointer import project_pointer
from hedonic.promotion.release import write_record
from hedonic.settings import Settings
from tests.ports import free_port
from tests.project import ROOT, SHARED
from tests.tiny_release import tiny_contract, tiny_model, tiny_release

DATASET = "tiny_town"


@dataclass(frozen=True)
class Town:
    """The project, and the releases that were made in it."""

    settings: Settings
    contract: Contract
    releases: tuple[Path, ...]

    @property
    def port(self) -> int:
        return self.contract.serve.port

    @property
    def history(self) -> History:
        return History(self.settings.history)

    @property
    def champion(self) -> str | None:
        record = self.history.champion(DATASET)
        return record.release if record else None

    def crown(self, n: int, bento: str | None = None) -> Record:
        """Let release number ``n`` be promoted; the pointer follows."""
        history = self.history
        entry = Entry(
            dataset=DATASET,
            kind="promoted",
            release=self.releases[n].name,
            bento=bento,
            figures={"log_rmse": 0.2 - n / 100},
            actor="ana",
            reason=f"promotion {n}",
        )
        record = history.append(entry, expected_champion=self.champion)
        project_pointer(history, self.settings.home, DATASET)
        return record

    def collect(self, n: int) -> None:
        """Let the history say that release number ``n`` was collected."""
        entry = Entry(
            dataset=DATASET, kind="collected", release=self.releases[n].name, actor="ana", reason="gc"
        )
        self.history.append(entry)

    def told(self) -> list[tuple[str, str]]:
        """Return the kinds of the history's records and the first four digits of their releases."""
        return [(record.kind, (record.release or "")[:4]) for record in self.history.records(DATASET)]


def make_town(folder: Path, n_releases: int = 3, promoted: int | None = None) -> Town:
    """Return a project whose releases 0, 1, … are model versions 1, 2, …, the first ones promoted in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for shared in SHARED:
        (folder / shared).symlink_to(ROOT / shared)
    (folder / "expectations").mkdir()
    contract = tiny_contract(serve={"port": free_port(), "max_rows": 5})
    (folder / "expectations" / f"{DATASET}.yaml").write_text(dump_contract(contract))
    settings = Settings(root=folder, home=folder / ".hedonic")
    settings.home.mkdir()
    releases = tuple(
        Path(shutil.copytree(_made(n), settings.releases / DATASET / _made(n).name))
        for n in range(n_releases)
    )
    town = Town(settings, contract, releases)
    for n in range(n_releases if promoted is None else promoted):
        town.crown(n)
    return town


@functools.cache
def _made(n: int) -> Path:
    """Return release number ``n``, made once a process: syncing each anew is what takes long."""
    folder = Path(tempfile.mkdtemp(prefix="hedonic-town-"))
    atexit.register(shutil.rmtree, folder)
    release = tiny_release(folder, tiny_model(seed=n))
    record = ReleaseRecord(
        dataset=DATASET,
        release=release.name,
        created_by="ana",
        created_at="2026-11-20T03:00:00+00:00",
        version=str(n + 1),
    )
    write_record(release, record)
    return release
