"""A HEDONIC_HOME in which everything is kept that runs leave, of a few tiny champions; made in seconds."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.promotion.bento import (
    BAKED,
    BENTO_LABEL,
    CODE_LABEL,
    FILES,
    LABEL,
    list_files,
    stored_bento,
    tree_digest,
)
from hedonic.promotion.history import History
from hedonic.promotion.pointer import project_pointer
from hedonic.promotion.record import Entry, Record
from hedonic.promotion.release import write_release
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.settings import Settings
from tests.tiny_release import ROW, tiny_content, tiny_contract, tiny_model

DATASET = "tiny_town"
OLD = 86_400 * 90


@dataclass(frozen=True)
class Champion:
    """A champion, present or past, and what it was made from."""

    release: str
    bento: str
    candidate: str
    snapshot: str
    report: str
    steps: tuple[str, ...]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def kept_home(folder: Path, n: int = 3) -> tuple[Settings, list[Champion]]:
    """Return the settings of a home below ``folder``, and its champions, the present one last."""
    settings = Settings(root=folder, home=folder / ".hedonic")
    settings.home.mkdir(parents=True)
    PredictionLogStore(str(settings.home / "prediction_log.db")).close()  # what served them left it
    return settings, [promoted(settings, seed) for seed in range(n)]


def copied(settings: Settings, root: Path) -> Settings:
    """Return the settings of a copy of the project at ``root``."""
    shutil.copytree(settings.root, root)
    return Settings(root=root, home=root / settings.home.name)


def promoted(settings: Settings, seed: int) -> Champion:
    """Return a champion that was just promoted, and all that its run left."""
    snapshot = tiny_snapshot(settings, seed)
    content = tiny_content(tiny_model(seed=seed), snapshot=snapshot.digest)
    release = write_release(settings.releases, content).name
    bento = made_bento(settings, release)
    candidate, undertaking = digest(f"candidate {seed}"), digest(f"undertaking {seed}")
    write(settings.candidates / DATASET / candidate / "model" / "model.json", {"seed": seed})
    report = left_by_steps(settings, candidate, snapshot, undertaking, seed)
    record(
        settings,
        "promoted",
        release=release,
        bento=bento,
        bento_files=tree_digest(stored_bento(settings.bentos, bento)),
        candidate=candidate,
        snapshot=snapshot.digest,
        recipe=undertaking,
    )
    steps = tuple(digest(f"{step} {seed}") for step in ("validate", "tune", "train", "evaluate", "run"))
    return Champion(release, bento, candidate, snapshot.digest, report, steps)


def record(settings: Settings, kind: str, **changes: Any) -> Record:
    """Return the record that was appended; pointer and champion follow."""
    history = History(settings.history)
    try:
        champion = history.champion(DATASET)
        entry = Entry(**{"dataset": DATASET, "kind": kind, "actor": "ana", "reason": "nightly", **changes})
        made = history.append(entry, expected_champion=champion.release if champion else None)
        project_pointer(history, settings.home, DATASET)
        return made
    finally:
        history.close()


def tiny_snapshot(settings: Settings, seed: int) -> Snapshot:
    """Return a snapshot of a few sales."""
    rows = [
        {**ROW, "id": n, "sold": pd.Timestamp("2015-03-06"), "price": 100_000.0 + 1000 * seed + n}
        for n in range(5)
    ]
    frame = pd.DataFrame(rows).assign(listed=pd.Timestamp("2014-12-24"))
    path = settings.home.parent / f"sales-{seed}.parquet"
    frame.to_parquet(path, index=False)
    contract = tiny_contract(source={"uri": str(path)})
    return SnapshotStore(settings.snapshots).ingest(contract, settings.root)


def left_by_steps(settings: Settings, candidate: str, snapshot: Snapshot, undertaking: str, seed: int) -> str:
    """Return the name of the validation report; steps, their kept results and the reports are written."""
    report = digest(f"report {seed}")
    validated = {"snapshot": snapshot.model_dump(mode="json"), "report_sha256": report}
    tuning = {"study": f"study {seed}"}
    steps = {
        "validate": ({}, validated),
        "tune": ({"validated": validated}, tuning),
        "train": ({"validated": validated, "tuning": tuning}, {"digest": candidate}),
        "evaluate": ({"candidate": {"digest": candidate}}, {"candidate_digest": candidate}),
        "run": ({}, undertaking),
    }
    for step, (arguments, output) in steps.items():
        key = digest(f"{step} {seed}")
        write(
            settings.home / "steps" / DATASET / step / f"{key}.json",
            {"arguments": arguments, "output": output},
        )
        write(settings.prefect_home / "storage" / key, {"result": output})
    write(settings.validations / f"{report}.json", {"snapshot": snapshot.model_dump(mode="json")})
    write(
        settings.reports / f"evaluation-{candidate[:16]}.json",
        {"dataset": DATASET, "candidate_digest": candidate},
    )
    return report


def made_bento(settings: Settings, release: str) -> str:
    """Return the tag of a bento as ``bentoml build`` lays one out, without its three seconds."""
    sources = {
        "bentos/valuation.py": "# serves\n",
        "src/hedonic/__init__.py": "",
        "src/hedonic/a.py": "A = 1\n",
    }
    lock = "numpy==2.4.6\n"
    code = {
        "sources": {name: digest(text) for name, text in sources.items()},
        "lock": digest(lock),
        "bentoml": "1.4.39",
    }
    recipe = "FROM python:3.12-slim\n"
    held = {"release": release, "recipe": digest(recipe), **code}
    whole = digest(json.dumps(held, sort_keys=True))
    labels = {LABEL: release, CODE_LABEL: digest(json.dumps(code, sort_keys=True)), BENTO_LABEL: whole}
    tag = f"hedonic-{DATASET}:{whole[:16]}"
    folder = stored_bento(settings.bentos, tag)
    for name, text in sources.items():
        write(folder / "src" / name.removeprefix("src/"), text)
    write(folder / "env" / "python" / "requirements.txt", lock)
    write(folder / "env" / "docker" / "Dockerfile", recipe)
    write(
        folder / "bento.yaml", {"name": f"hedonic-{DATASET}", "bentoml_version": "1.4.39", "labels": labels}
    )
    shutil.copytree(settings.releases / DATASET / release, folder / "src" / BAKED / release)
    write(folder / FILES, list_files(folder))
    write(folder.parent / "latest", folder.name)
    return tag


def write(path: Path, content: Any) -> None:
    """Write text, or a value as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
