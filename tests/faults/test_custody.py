"""What is kept survives what is done to it: damage is refused everywhere, and a kill spoils no collection."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hedonic.custody.claim import Retention
from hedonic.custody.hand_build import build_by_hand
from hedonic.custody.inspection import inspect
from hedonic.custody.sweep import sweep
from hedonic.errors import ReleaseRefused
from hedonic.model.manifest import MANIFEST, Manifest, verify_release
from hedonic.promotion.history import History
from hedonic.served_settings import LogSettings
from hedonic.serving.loading import load_source
from hedonic.serving.predictor import load_release
from hedonic.serving.rollout import Rollout
from hedonic.serving.source import champion_source
from hedonic.settings import Settings
from tests.broken_release import DAMAGES, FAULTS, files_of, resealed
from tests.drills import DrillTable, count
from tests.kept_home import DATASET, OLD, copied, kept_home, record
from tests.tiny_release import tiny_model, tiny_release

pytestmark = [pytest.mark.fault, pytest.mark.drill]

N_CORRUPTED = count(few=38, promised=1000)
N_KILLS = count(few=8, promised=120)

Corrupt = Callable[[Path, Path, random.Random], object]


# A corrupted release is refused wherever it is looked at


def damaged(folder: Path, other: Path, rng: random.Random) -> None:
    path = rng.choice(files_of(folder))
    content = path.read_bytes()
    changed = rng.choice(DAMAGES)(content, rng)
    assert changed != content
    path.write_bytes(changed)


def torn(folder: Path, other: Path, rng: random.Random) -> None:
    path = rng.choice([path for path in files_of(folder) if path.name != MANIFEST])
    path.write_bytes(_changed(path, rng))


def swapped(folder: Path, other: Path, rng: random.Random) -> None:
    one, another = rng.sample(_distinct(folder), 2)
    first, second = one.read_bytes(), another.read_bytes()
    one.write_bytes(second)
    another.write_bytes(first)


def of_another_release(folder: Path, other: Path, rng: random.Random) -> None:
    names = [path.relative_to(folder) for path in files_of(folder)]
    differ = [name for name in names if (folder / name).read_bytes() != (other / name).read_bytes()]
    name = rng.choice(differ)
    shutil.copyfile(other / name, folder / name)


def missing(folder: Path, other: Path, rng: random.Random) -> None:
    rng.choice(files_of(folder)).unlink()


def added(folder: Path, other: Path, rng: random.Random) -> None:
    names = ("more.json", "model/more.npy", "model/run.py", ".hidden.txt", "model.pkl", "judged/record.json")
    (folder / rng.choice(names)).write_bytes(rng.randbytes(20))


def linked(folder: Path, other: Path, rng: random.Random) -> None:
    path = rng.choice(files_of(folder))
    aside = folder.parent.parent / f"aside-{path.name}"
    path.replace(aside)  # the same bytes, only not here
    path.symlink_to(aside)


def link_added(folder: Path, other: Path, rng: random.Random) -> None:
    rng.choice([folder, folder / "model"]).joinpath("more").symlink_to(
        rng.choice([other, Path("/etc/passwd")])
    )


def a_folder_for_a_file(folder: Path, other: Path, rng: random.Random) -> None:
    path = rng.choice(files_of(folder))
    path.unlink()
    path.mkdir()


def edited_manifest(folder: Path, other: Path, rng: random.Random) -> None:
    """Change a fact, in canonical form or not."""
    content = json.loads((folder / MANIFEST).read_bytes())
    changes = {"seed": 43, "snapshot": "e" * 64, "reproducible": False, "configuration": {"rounds": 400}}
    name = rng.choice(sorted(changes))
    content[name] = changes[name]
    canonical = Manifest(**content).to_bytes()
    (folder / MANIFEST).write_bytes(rng.choice([canonical, json.dumps(content).encode()]))


def manifest_in_other_bytes(folder: Path, other: Path, rng: random.Random) -> None:
    content = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(content, indent=rng.choice([None, 2, 4])))


def vouched_for(folder: Path, other: Path, rng: random.Random) -> None:
    """Damage a file, and write a canonical manifest that vouches for it: it has another digest."""
    torn(folder, other, rng)
    resealed(folder).rename(folder)


def vouched_for_and_renamed(folder: Path, other: Path, rng: random.Random) -> None:
    torn(folder, other, rng)
    resealed(folder)


def without_a_file_by_its_manifest(folder: Path, other: Path, rng: random.Random) -> None:
    content = json.loads((folder / MANIFEST).read_bytes())
    name = rng.choice(sorted(content["files"]))
    del content["files"][name]
    (folder / name).unlink()
    (folder / MANIFEST).write_bytes(Manifest(**content).to_bytes())


def renamed(folder: Path, other: Path, rng: random.Random) -> None:
    folder.rename(folder.with_name(f"{rng.getrandbits(256):064x}"))


def exchanged(folder: Path, other: Path, rng: random.Random) -> None:
    """Put another whole release under this one's name."""
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


CORRUPTIONS: tuple[Corrupt, ...] = (
    damaged, damaged, damaged, damaged, torn, swapped, of_another_release, missing, added, linked, link_added,
    a_folder_for_a_file, edited_manifest, manifest_in_other_bytes, vouched_for, vouched_for_and_renamed,
    without_a_file_by_its_manifest, renamed, exchanged,
)  # fmt: skip


def _changed(path: Path, rng: random.Random) -> bytes:
    content = path.read_bytes()
    while (changed := rng.choice(FAULTS)(content, rng)) == content:
        pass
    return changed


def _distinct(folder: Path) -> list[Path]:
    """Return one file of each content."""
    return list({path.read_bytes(): path for path in files_of(folder)}.values())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path, Path]:
    """Return a project whose history has two champions: their folders, the present one first."""
    root = tmp_path_factory.mktemp("project")
    settings = Settings(root=root, home=root / ".hedonic")
    folders = [tiny_release(settings.releases, tiny_model(seed=seed)) for seed in (4, 5)]
    for folder in folders:
        record(settings, "promoted", release=folder.name)
    return settings, folders[1], folders[0]


def refused_everywhere(settings: Settings, release: str, store: Path) -> None:
    """Assert that the champion is refused where it is verified, loaded, built and started."""
    folder = settings.releases / DATASET / release
    (seen,) = [seen for seen in inspect(settings, DATASET, release) if seen.kind == "release"]
    assert (seen.state, seen.name) == ("wrong", release)
    with pytest.raises(ReleaseRefused):
        load_release(folder, release)
    with pytest.raises(ReleaseRefused):
        build_by_hand(settings, DATASET, release)
    with pytest.raises(ReleaseRefused):
        Rollout(load_source, lambda: champion_source(settings.home, DATASET))
    with pytest.raises(ReleaseRefused):
        verify_release(folder, release)  # what starts an endpoint asks first
    for found in (settings.releases / DATASET).iterdir():  # under whatever name it is now
        if found.name != release and found.is_dir():
            with pytest.raises(ReleaseRefused):
                build_by_hand(settings, DATASET, found.name)
    assert not store.exists()


def test_a_corrupted_release_is_refused_where_it_is_verified_loaded_built_and_started(
    home: tuple[Settings, Path, Path], tmp_path: Path, drill_table: DrillTable
) -> None:
    made, champion, other = home
    done: Counter[str] = Counter()
    for drill in range(N_CORRUPTED):
        corrupt = CORRUPTIONS[drill % len(CORRUPTIONS)]
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        settings = copied(made, copy)
        folders = settings.releases / DATASET
        shutil.rmtree(folders / other.name)
        corrupt(folders / champion.name, other, random.Random(drill))
        refused_everywhere(settings, champion.name, settings.bentos)
        done[corrupt.__name__] += 1
    (whole,) = [seen for seen in inspect(made, DATASET, champion.name) if seen.kind == "release"]
    assert whole.state == "ok"
    load_release(champion)
    drill_table.add(
        "a corrupted release (bits, cuts, swaps, manifests, files, links, names)",
        N_CORRUPTED,
        f"all refused at verify, load, build and start, in {len(done)} ways",
    )


# A collection that is killed is finished by the next


LATER = Retention(keep=1, days=30, now=datetime.now(UTC) + timedelta(seconds=OLD))


def swept(settings: Settings) -> None:
    sweep(settings, LogSettings(), LATER, actor="ana", reason="gc")


def die_at(n: int) -> None:
    """Make the n-th change of a sweep one that this process does not come back from."""
    left = [n]

    def dying(step: Callable[..., object]) -> Callable[..., object]:
        def then(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args, **kwargs)

        return then

    changes = ((History, "append"), (Path, "unlink"), (Path, "rename"), (os, "unlink"), (os, "rmdir"))
    for owner, name in changes:
        setattr(owner, name, dying(getattr(owner, name)))


def swept_until_killed(settings: Settings, n: int) -> bool:
    """Return whether a process that sweeps was killed at its n-th change; it may have had fewer."""
    pid = os.fork()
    if pid == 0:
        try:
            die_at(n)
            swept(settings)
            os._exit(0)
        finally:  # an error is not to go on in a copy of the tests' process
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def listed(home: Path) -> set[str]:
    return {
        path.relative_to(home).as_posix()
        for path in home.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm", ".lock"))
    }


def test_a_collection_that_is_killed_leaves_nothing_half_and_the_next_one_finishes_it(
    tmp_path: Path, drill_table: DrillTable
) -> None:
    made, champions = kept_home(tmp_path / "made", n=4)
    whole = copied(made, tmp_path / "whole")
    swept(whole)
    after = listed(whole.home)
    killed, rng = 0, random.Random(0)
    for drill in range(N_KILLS):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        settings = copied(made, tmp_path / "copy")
        killed += swept_until_killed(settings, drill + 1 if drill < 6 else rng.randrange(1, 160))
        assert [seen for seen in inspect(settings) if seen.state == "wrong"] == []
        load_release(settings.releases / DATASET / champions[-1].release)
        swept(settings)
        assert listed(settings.home) == after
        with closing(History(settings.history)) as history:
            assert history.verify_chain() == ()
            gone = [entry.release for entry in history.records() if entry.kind == "collected"]
        assert gone == [champions[0].release, champions[1].release]  # each told once
    assert killed > 0.8 * N_KILLS
    drill_table.add(
        "`hedonic gc` killed at one of its changes", N_KILLS,
        f"{killed} killed; nothing half, the next one finished each, every collection told once",
    )  # fmt: skip
