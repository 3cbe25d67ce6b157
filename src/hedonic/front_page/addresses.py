"""Addresses: each tool's page at the right place, not at its door."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from hedonic.front_page.state import Link
from hedonic.parts import WORK_POOL
from hedonic.promotion.registry.store import model_name
from hedonic.settings import Addresses as Elsewhere
from hedonic.settings import ServicePart, Settings

EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 (compared with, not listened on)

_TRAINING = "?workflowType=machine_learning"
"""Of MLflow's pages: it would show them among its tools for language models."""

_PAGES = {
    "prefect": (("Runs", "/runs"), ("Deployments", "/deployments"), ("Automations", "/automations")),
    "worker": (("Work pool", f"/work-pools/work-pool/{WORK_POOL}"),),
    "watcher": (("Events", "/events"),),
    "mlflow": (("Experiments", f"/#/experiments{_TRAINING}"), ("Models", f"/#/models{_TRAINING}")),
    "optuna": (("Studies", "/dashboard/"),),
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """The pages of one project's tools, as seen from a host name.

    Attributes:
        elsewhere: the addresses of those that do not answer under that name, at their own port.
    """

    settings: Settings
    host: str
    elsewhere: Elsewhere

    @classmethod
    def inside(cls, settings: Settings) -> Addresses:
        """Return the addresses at which we ask the tools ourselves."""
        host = "127.0.0.1" if settings.host in EVERYWHERE else settings.host
        return cls(settings, host, settings.services)

    @classmethod
    def for_people(cls, settings: Settings) -> Addresses:
        """Return the addresses that are written down for who reads them later, on this machine or beyond."""
        return cls.seen_from(settings, "127.0.0.1")

    @classmethod
    def seen_from(cls, settings: Settings, host: str) -> Addresses:
        """Return the addresses for who asked us under this name, where we listen under every name."""
        ours = host if settings.host in EVERYWHERE else settings.host
        known = {name: told for name, told in settings.services if told} | {
            name: told for name, told in settings.pages if told
        }
        return cls(settings, ours, Elsewhere(**known))

    @property
    def prefect(self) -> str:
        """Return Prefect's UI, the second one that it ships."""
        return f"{self.of('prefect')}/v2"

    @property
    def prefect_api(self) -> str:
        """Return Prefect's API."""
        return f"{self.of('prefect')}/api"

    @property
    def mlflow(self) -> str:
        """Return MLflow's server."""
        return self.of("mlflow")

    @property
    def optuna(self) -> str:
        """Return Optuna's dashboard."""
        return self.of("optuna")

    @property
    def data_docs(self) -> str:
        """Return Data Docs, on the front page itself."""
        return "/data-docs/index.html"

    def inside_of(self, part: str) -> tuple[Link, ...]:
        """Return the pages of a part that people look for."""
        return tuple(Link(title=title, url=f"{self._of(part)}{path}") for title, path in _PAGES.get(part, ()))

    def _of(self, part: str) -> str:
        return {"mlflow": self.mlflow, "optuna": self.optuna}.get(part, self.prefect)

    def of(self, part: ServicePart) -> str:
        """Return the address of a part."""
        given: str | None = getattr(self.elsewhere, part)
        return given or self._at(getattr(self.settings.ports, part))

    def endpoint(self, dataset: str, port: int) -> str:
        """Return the address of the endpoint of a data set."""
        given = self.elsewhere.endpoint
        return given.format(dataset=dataset) if given else self._at(port)

    def _at(self, port: int) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{port}"

    def flow_run(self, run: str) -> str:
        """Return the page of a flow run."""
        return f"{self.prefect}/runs/flow-run/{run}"

    def deployment(self, deployment: str) -> str:
        """Return the page of a deployment."""
        return f"{self.prefect}/deployments/deployment/{deployment}"

    def experiment(self, experiment: str) -> str:
        """Return the runs of an experiment: MLflow itself would open its overview."""
        return f"{self.mlflow}/#/experiments/{experiment}/runs{_TRAINING}"

    def mlflow_run(self, experiment: str, run: str) -> str:
        """Return the page of a run in MLflow."""
        return f"{self.mlflow}/#/experiments/{experiment}/runs/{run}{_TRAINING}"

    def model_version(self, dataset: str, version: str) -> str:
        """Return the page of a version of the registered model."""
        return f"{self.mlflow}/#/models/{quote(model_name(dataset))}/versions/{version}{_TRAINING}"

    def study(self, study: int) -> str:
        """Return the page of a study."""
        return f"{self.optuna}/dashboard/studies/{study}"
