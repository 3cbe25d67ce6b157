"""What one job of a workflow hands to the next: study, verdict and release, by its exact digest."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import optuna

from hedonic.errors import HedonicError
from hedonic.model.manifest import verify_release
from hedonic.model.search import open_storage
from hedonic.model.study_name import is_study_of
from hedonic.promotion.release import publish
from hedonic.settings import Settings, load_settings

VERDICT, STUDY, RELEASES = "verdict.json", "studies.journal", "releases"


def main() -> int:
    """Return 0 when the parcel was made or taken, 1 after saying why not."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    pack_ = commands.add_parser("pack", help="make the parcel of a run that `hedonic run --json` told of")
    pack_.add_argument("run", type=Path, help="what it wrote on standard output")
    pack_.add_argument("parcel", type=Path)
    take_ = commands.add_parser(
        "take", help="take the release out of a parcel, if it is the one that was promised"
    )
    take_.add_argument("parcel", type=Path)
    take_.add_argument("dataset")
    take_.add_argument("release", help="its digest, told by the job that made it, not by the parcel")
    take_.add_argument("bento", help="the tag of its bento, told likewise")
    asked = parser.parse_args()
    settings = load_settings()
    try:
        if asked.command == "pack":
            facts = pack(settings, asked.run, asked.parcel)
            sys.stdout.write("".join(f"{name}={value}\n" for name, value in facts.items()))
        else:
            folder = take(settings, asked.parcel, asked.dataset, asked.release)
            build_promised(settings, folder, asked.bento)
            sys.stdout.write(f"took {folder}, bento {asked.bento}\n")
    except HedonicError as err:
        sys.stderr.write(f"handover: {err}\n")
        return err.exit_code
    return 0


def pack(settings: Settings, run: Path, parcel: Path) -> dict[str, str]:
    """Return what a later job must know, after copying study, verdict and release into ``parcel``.

    Args:
        settings: of the project in which the run was.
        run: its JSON, one object on the last line.
        parcel: a folder that is not there yet.

    Raises:
        HedonicError: the run told of no verdict, or its release is not what its manifest says.
    """
    told = read_run(run)
    parcel.mkdir(parents=True)
    (parcel / VERDICT).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    _copy_study(settings.studies, told["dataset"], parcel / STUDY)
    facts = {"dataset": told["dataset"], "outcome": told["outcome"], "release": "", "bento": ""}
    if told["outcome"] == "promoted":
        folder = settings.releases / told["dataset"] / told["release"]
        verify_release(folder)
        shutil.copytree(folder, parcel / RELEASES / told["dataset"] / told["release"])
        facts |= {"release": told["release"], "bento": told["bento"]}
    return facts


def _copy_study(studies: Path | str, dataset: str, journal: Path) -> None:
    """Copy what holds the run's study; of a database that many share, the newest of the data set alone."""
    if isinstance(studies, Path):
        if studies.is_file():
            shutil.copyfile(studies, journal)
        return
    shared = open_storage(studies)
    begun = [
        (summary.datetime_start, summary.study_name)
        for summary in optuna.get_all_study_summaries(shared)
        if summary.datetime_start and is_study_of(dataset, summary.study_name)
    ]
    if begun:
        _, newest = max(begun)
        optuna.copy_study(from_study_name=newest, from_storage=shared, to_storage=open_storage(journal))


def read_run(path: Path) -> dict[str, Any]:
    """Return the object that a run wrote on its last line.

    Raises:
        HedonicError: there is none, or it tells of an error.
    """
    lines = path.read_text(encoding="utf-8").strip().splitlines() if path.is_file() else []
    try:
        told = json.loads(lines[-1]) if lines else None
    except ValueError:
        told = None
    if not isinstance(told, dict) or "outcome" not in told:
        raise HedonicError(f"{path}: tells of no verdict: {lines[-1][:300] if lines else 'it is empty'}")
    return told


def take(settings: Settings, parcel: Path, dataset: str, release: str) -> Path:
    """Return where the release is now, after checking that it is the very one that was promised.

    Raises:
        HedonicError: another release is in the parcel, or none, or one that was changed.
    """
    source, target = parcel / RELEASES / dataset / release, settings.releases / dataset / release
    held = sorted(path.name for path in (parcel / RELEASES / dataset).glob("*"))
    if held != [release]:
        raise HedonicError(
            f"{parcel}: holds {', '.join(held) or 'no release'} of {dataset}, promised was {release}"
        )
    verify_release(source, expected=release)
    if not target.is_dir():
        scratch = settings.releases / dataset / f".taking-{release}"
        shutil.copytree(source, scratch)
        publish(scratch, target)
    return target


def build_promised(settings: Settings, folder: Path, bento: str) -> None:
    """Build the bento of a promoted release again: of the same release, code and lock it is the same one.

    Raises:
        HedonicError: it is another bento, so this tree is not the one that was judged.
    """
    from hedonic.promotion.bento import build_bento

    built = build_bento(settings.root, folder, settings.bentos, promoted=True)
    if built.tag != bento:
        raise HedonicError(
            f"{folder.name[:16]}: its bento is {built.tag} here, promised was {bento}: other code or "
            "another lock. Check out the commit of the run that made it."
        )


if __name__ == "__main__":
    sys.exit(main())
