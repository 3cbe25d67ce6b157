"""What a flow did, in MLflow: a run a flow, a child a step, trials below the step that tuned."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import quote

from hedonic.errors import HedonicError
from hedonic.promotion.registry.model_version import schema_of
from hedonic.promotion.registry.store import model_name, open_client
from hedonic.settings import Settings

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

    from hedonic.data.contract import Contract

Status = Literal["FINISHED", "FAILED", "KILLED"]
Item = TypeVar("Item")

TAG_FLOW_RUN = "prefect.flow_run_id"
TAG_STEP = "hedonic.step"
TAG_TRIAL = "optuna.trial"
TAG_PARENT = "mlflow.parentRunId"

# Without it MLflow's UI takes the experiment for one about language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}

# What MLflow accepts in one request.
_MAX_METRICS, _MAX_PARAMS, _MAX_TAGS = 800, 100, 100
_MAX_DIGEST = 36
_STATUS: dict[str, Status] = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial of a study, as it is put below the step that tuned.

    Attributes:
        number: in the study.
        state: Optuna's name of it: COMPLETE, PRUNED or FAIL.
        loss: None where the trial did not finish.
        parameters: family and hyper-parameters.
        fold_losses: of the folds that were scored, in order.
        duration_s: CPU seconds.
        tags: such as links to the study and the Prefect run.
    """

    number: int
    state: str
    loss: float | None
    parameters: Mapping[str, object]
    fold_losses: Sequence[float] = ()
    duration_s: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)


class Tracking:
    """The experiment of one data set; runs are known by their ids, so that tasks can pass them on.

    Nothing of MLflow's global state (tracking URI, active run) is read or set.
    """

    def __init__(self, settings: Settings, dataset: str) -> None:
        self.settings = settings
        self.dataset = dataset
        self._client = open_client(settings)
        self.experiment_id = self._experiment()

    def start_flow_run(self, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the flow's run; a flow run that resumes finds the run that it began.

        Args:
            name: shown in the UI.
            tags: with ``prefect.flow_run_id``, by which a run is found again.
        """
        flow_run = tags.get(TAG_FLOW_RUN)
        if flow_run:
            for run_id in self.find_flow_runs(flow_run):
                self._client.update_run(run_id, status="RUNNING")
                return run_id
        return self._create(name, {**tags, TAG_STEP: "flow"})

    def find_flow_runs(self, flow_run: str) -> list[str]:
        """Return the id of the run that a Prefect flow run began; none before it did."""
        return [str(run.info.run_id) for run in self._find(TAG_FLOW_RUN, flow_run, TAG_STEP, "flow")]

    def start_step(self, parent_run_id: str, step: str, tags: Mapping[str, str] | None = None) -> str:
        """Return the id of a step's run below the flow's; what an earlier try left is deleted."""
        for run in self._find(TAG_PARENT, parent_run_id, TAG_STEP, step):
            self._delete(run.info.run_id)
        return self._create(step, {**(tags or {}), TAG_PARENT: parent_run_id, TAG_STEP: step})

    def log_step(
        self,
        parent_run_id: str,
        step: str,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        tags: Mapping[str, str] | None = None,
        artifacts: Sequence[Path] = (),
    ) -> str:
        """Return the id of a step's run, begun, filled and finished in one call."""
        run_id = self.start_step(parent_run_id, step)
        self.log(run_id, params=params, metrics=metrics, tags=tags, artifacts=artifacts)
        self.finish(run_id)
        return run_id

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float | None] | None = None,
        tags: Mapping[str, str] | None = None,
        artifacts: Sequence[Path] = (),
    ) -> None:
        """Put parameters, metrics, tags and files (or folders) on a run; a metric of None is left out.

        A parameter that is there with another value stays; the new value is the tag ``again.<name>``.
        """
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        now = _now_ms()
        known = {name: value for name, value in (metrics or {}).items() if value is not None}
        batches = zip_longest(
            _batches([Metric(k, float(v), now, 0) for k, v in known.items()], _MAX_METRICS),
            _batches([Param(k, str(v)) for k, v in (params or {}).items()], _MAX_PARAMS),
            _batches([RunTag(k, v) for k, v in (tags or {}).items()], _MAX_TAGS),
            fillvalue=(),
        )
        for some_metrics, some_params, some_tags in batches:
            try:
                self._client.log_batch(run_id, some_metrics, some_params, some_tags)
            except MlflowException:
                # A run that resumes did a step again: MLflow lets no parameter change, but tags.
                there = self._client.get_run(run_id).data.params
                changed = [p for p in some_params if there.get(p.key, p.value) != p.value]
                if not changed:
                    raise
                new = [p for p in some_params if p.key not in there]
                again = [RunTag(f"again.{p.key}", p.value) for p in changed]
                self._client.log_batch(run_id, some_metrics, new, [*some_tags, *again])
        for path in artifacts:
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), path.name)
            else:
                self._client.log_artifact(run_id, str(path))

    def log_curve(self, run_id: str, name: str, values: Sequence[float]) -> None:
        """Put a metric by step on a run, such as the loss after each iteration; steps count from 1."""
        from mlflow.entities import Metric

        now = _now_ms()
        for batch in _batches(
            [Metric(name, float(v), now, n) for n, v in enumerate(values, 1)], _MAX_METRICS
        ):
            self._client.log_batch(run_id, batch)

    def log_trials(self, parent_run_id: str, trials: Sequence[TrialRecord], *, metric: str) -> dict[int, str]:
        """Return the run id of each trial by number; a trial that is there already is not repeated.

        Args:
            parent_run_id: of the step that tuned.
            trials: in number order.
            metric: the name of what the losses are.
        """
        from mlflow.entities import Param

        there = self._find(TAG_PARENT, parent_run_id)
        known = {int(r.data.tags[TAG_TRIAL]): str(r.info.run_id) for r in there if TAG_TRIAL in r.data.tags}
        for trial in trials:
            if trial.number in known:
                continue
            tags = {**trial.tags, TAG_TRIAL: str(trial.number), "optuna.state": trial.state}
            run_id = self._create(f"trial-{trial.number}", {**tags, TAG_PARENT: parent_run_id})
            params = [Param(name, str(value)) for name, value in trial.parameters.items()]
            self._client.log_batch(run_id, metrics=_trial_metrics(trial, metric), params=params[:_MAX_PARAMS])
            self.finish(run_id, _STATUS.get(trial.state, "FAILED"))
            known[trial.number] = run_id
        return known

    def log_dataset(
        self,
        run_id: str,
        *,
        digest: str,
        path: Path,
        n_rows: int,
        source_uri: str,
        contract: Contract | None = None,
        context: str = "training",
    ) -> None:
        """Name the snapshot as the run's dataset: its digest, file, rows and, by contract, its columns.

        Args:
            run_id: of any run.
            digest: the snapshot's, 64 hex digits; MLflow keeps the first 36.
            path: the snapshot's file, which ``mlflow.data.get_source(...)`` loads.
            n_rows: of the snapshot.
            source_uri: where the snapshot came from.
            contract: gives the columns.
            context: what the dataset was for.
        """
        from mlflow.data.sources import LocalArtifactDatasetSource  # type: ignore[attr-defined]
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = LocalArtifactDatasetSource(str(path))
        columns = json.dumps({"mlflow_colspec": schema_of(contract.columns).to_dict()}) if contract else None
        dataset = Dataset(
            name=self.dataset,
            digest=digest[:_MAX_DIGEST],
            source_type=source._get_source_type(),
            source=source.to_json(),
            schema=columns,
            profile=json.dumps({"num_rows": n_rows, "snapshot": digest, "source_uri": source_uri}),
        )
        context_tag = InputTag("mlflow.data.context", context)
        self._client.log_inputs(run_id, [DatasetInput(dataset, [context_tag])])

    def finish(self, run_id: str, status: Status = "FINISHED") -> None:
        """End a run."""
        self._client.set_terminated(run_id, status)

    def url(self, run_id: str) -> str:
        """Return the address of the run in MLflow's UI, past its overview page."""
        return f"{self.settings.page('mlflow')}/#/experiments/{self.experiment_id}/runs/{run_id}"

    def artifact_url(self, run_id: str, name: str) -> str:
        """Return the address at which MLflow's server gives a file of a run."""
        return f"{self.settings.page('mlflow')}/get-artifact?path={quote(name)}&run_uuid={run_id}"

    def _experiment(self) -> str:
        """Return the id of the data set's experiment, made where there is none."""
        from mlflow.exceptions import MlflowException

        name = model_name(self.dataset)
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # A server elsewhere keeps the artifacts where it was told to.
            local = self.settings.services.mlflow is None
            place = (self.settings.mlflow_artifacts / self.dataset).as_uri() if local else None
            try:
                return str(self._client.create_experiment(name, place, tags=_EXPERIMENT_TAGS))
            except MlflowException as err:
                # Made by another process since we looked.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise HedonicError(f"MLflow experiment {name} cannot be made: {err}") from err
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(self.experiment_id, run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def _find(self, *pairs: str) -> list[Run]:
        """Return the runs that have all these tags (names and values in turn)."""
        wanted = zip(pairs[::2], pairs[1::2], strict=True)
        where = " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted)
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs([self.experiment_id], where, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    def _delete(self, run_id: str) -> None:
        for child in self._find(TAG_PARENT, run_id):
            self._client.delete_run(child.info.run_id)
        self._client.delete_run(run_id)


def _trial_metrics(trial: TrialRecord, metric: str) -> list[Metric]:
    from mlflow.entities import Metric

    now = _now_ms()
    metrics = [Metric(f"fold_{metric}", loss, now, fold) for fold, loss in enumerate(trial.fold_losses, 1)]
    metrics.append(Metric("duration_s", trial.duration_s, now, 0))
    if trial.loss is not None:
        metrics.append(Metric(metric, trial.loss, now, 0))
    return metrics


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
