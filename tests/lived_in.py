"""A home in which a release of houses was made, promoted and asked: for tests of where answers come from."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from hedonic.data.contract import Contract
from hedonic.data.snapshot import Snapshot, SnapshotStore
from hedonic.data.split import split_rows
from hedonic.data.table import columns_from_frame
from hedonic.data.training_data import TrainingData
from hedonic.data.validated import ValidationReport
from hedonic.model.artifact import folder_digest
from hedonic.model.manifest import MODEL, Golden, ManifestFacts, ReleaseRecord
from hedonic.model.recipe import Recipe
from hedonic.model.training import fit_candidate
from hedonic.model.tuning import make_folds
from hedonic.promotion.history import Entry, History, Record
from hedonic.promotion.making import golden_instances
from hedonic.promotion.release import ReleaseContent, write_record, write_release
from hedonic.promotion.verdict import Finding, Verdict
from hedonic.serving.prediction_log_entry import Answered
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.predictor import Predictor, load_release
from hedonic.serving.responses import predict_response
from hedonic.settings import Settings
from tests.contracts import TREES, house_contract, house_frame

QUARANTINED = (3, 17)


@dataclass(frozen=True)
class LivedIn:
    """A home, and what was made in it."""

    settings: Settings
    contract: Contract
    snapshot: Snapshot
    report: ValidationReport
    release: str

    @property
    def folder(self) -> Path:
        """Return the release's folder."""
        return self.settings.releases / self.contract.name / self.release

    @property
    def log(self) -> str:
        """Return the prediction log that belongs to the home."""
        return str(self.settings.home / "prediction_log.db")

    @property
    def row(self) -> dict[str, Any]:
        """Return a row to ask about: the first golden one."""
        row: dict[str, Any] = json.loads((self.folder / "golden.json").read_text())["instances"][0]
        return row

    def moved(self, folder: Path) -> LivedIn:
        """Return a copy of it all in another folder, to be broken there."""
        shutil.copytree(self.settings.root, folder, dirs_exist_ok=True, symlinks=True)
        home = folder / self.settings.home.relative_to(self.settings.root)
        return replace(self, settings=self.settings.model_copy(update={"root": folder, "home": home}))

    def answered(self, *rows: dict[str, Any], url: str | None = None, **changes: Any) -> str:
        """Return the id of a request that the release answered, as the service answers and logs it."""
        request_id = str(changes.pop("request_id", "r1"))
        body = json.dumps({"instances": list(rows or (self.row,))}).encode()
        status, content = predict_response(
            load_release(self.folder, self.release), "application/json", body, request_id
        )
        assert status == 200, content
        fields: dict[str, Any] = {
            "request_id": request_id,
            "at_us": int(datetime.now(UTC).timestamp() * 1e6),
            "role": "served",
            "dataset": self.contract.name,
            "release": self.release,
            "route": "/predict",
            "n_rows": len(rows) or 1,
            "latency_ms": 0.5,
            "request": body,
            "response": content,
        }
        store = PredictionLogStore(url or self.log)
        store.append([Answered(**{**fields, **changes})])
        store.close()
        return request_id

    def append(self, **changes: Any) -> Record:
        """Return a record appended to the history, of a promotion of the release unless told otherwise."""
        verdict = Verdict(promoted=True, kind="promoted", reasons=(NO_CHAMPION,))
        fields: dict[str, Any] = {
            "dataset": self.contract.name,
            "kind": "promoted",
            "release": self.release,
            "candidate": folder_digest(self.folder / MODEL),
            "verdict": verdict,
            "actor": "ana",
            "reason": "first",
            "snapshot": self.snapshot.digest,
            "mlflow_run": "run-1",
            "version": 1,
        }
        history = History(self.settings.history)
        try:
            champion = history.champion(self.contract.name)
            held = champion.release if champion else None
            return history.append(Entry(**{**fields, **changes}), expected_champion=held)
        finally:
            history.close()


NO_CHAMPION = Finding(check="champion", outcome="not applicable", sentence="there is no champion")


def lived_in(root: Path, **record: Any) -> LivedIn:
    """Return a home below ``root``: rows, their validation, a release with its record, and a history."""
    contract, frame = house_contract(), house_frame()
    (root / "data").mkdir(parents=True)
    frame.to_parquet(root / contract.source.uri, index=False)
    settings = Settings(root=root, home=root / ".hedonic")
    store = SnapshotStore(settings.snapshots)
    snapshot = store.ingest(contract, root)
    report = ValidationReport(
        snapshot=snapshot,
        contract_digest=contract.digest,
        as_of=date(2026, 1, 2),
        run_name="houses",
        passed=True,
        checks=(),
        quarantined=QUARANTINED,
        quarantine_fraction=0.1,
        page=None,
    )
    report.write(settings.validations)
    kept = store.frame(snapshot).drop(index=list(QUARANTINED))
    data = TrainingData(contract, kept, columns_from_frame(contract, kept), split_rows(contract, kept))
    recipe = Recipe(family="boosting", parameters=TREES, n_clusters=4, seed=1)
    folds = make_folds(data, n_clusters=4, seed=1, workers=1)
    model = fit_candidate(contract, data.columns, data.split, recipe, folds).model
    instances = golden_instances(data)
    facts = ManifestFacts(
        dataset=contract.name, snapshot=snapshot.digest, split=data.split.digest, seed=1, lock="c" * 64,
        code="d" * 64,
        configuration={"recipe": recipe.model_dump(mode="json"), "trials": 1, "families": ["boosting"]},
    )  # fmt: skip
    content = ReleaseContent(
        model=model,
        judged=None,
        seen_rows=data.seen,
        golden=Golden(instances=tuple(instances), answers=tuple(Predictor(model).predict(instances))),
        facts=facts,
    )
    release = write_release(settings.releases, content)
    facts_beside: dict[str, Any] = {
        "dataset": contract.name,
        "release": release.name,
        "created_by": "ana",
        "created_at": "2026-01-02T03:04:05+00:00",
        "version": "1",
        "mlflow_run_id": "run-1",
        "contract": contract.digest,
        "source_uri": contract.source.uri,
        "source_sha256": snapshot.source_sha256,
        "validation": report.sha256,
        "as_of": report.as_of,
    }
    write_record(release, ReleaseRecord(**{**facts_beside, **record}))
    home = LivedIn(settings, contract, snapshot, report, release.name)
    home.append()
    return home
