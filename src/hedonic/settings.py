"""Settings from the environment, and where the project keeps its state."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from hedonic.errors import UserError
from hedonic.process_environment import NUMERIC_ENVIRONMENT, QUIET_ENVIRONMENT

ROOT_MARKER = "prefect.yaml"

Severity = Literal["info", "warning", "critical"]
ServicePart = Literal["prefect", "mlflow", "optuna", "front_page"]
Address = Annotated[str, Field(pattern=r"^https?://[^\s/]+(/[^\s]*[^\s/])?$")]
Environment = Literal["staging", "production"]
DEFAULT_ENVIRONMENT: Final[Environment] = "production"


class Ports(BaseModel):
    """The loopback ports of the parts; an endpoint's own port is in its contract."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    front_page: int = 8000
    prefect: int = 4200
    mlflow: int = 5000
    optuna: int = 8080


class Addresses(BaseModel):
    """Addresses such as ``http://mlflow:5000``, one a part; None: on our own host, at the part's port.

    Attributes:
        endpoint: of the endpoint of a data set, where there are several with ``{dataset}`` in it, or with
            ``{name}``: the same with hyphens for underscores, as the names of hosts are written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefect: Address | None = None
    mlflow: Address | None = None
    optuna: Address | None = None
    front_page: Address | None = None
    endpoint: Address | None = None


class Watch(BaseModel):
    """How the watcher looks at sources and at the repository.

    Attributes:
        debounce_s: a file written within the last so many seconds is left alone.
        every_s: everything is looked at this often even if the system reports no change, and an event
            that did not reach the server is sent again.
        patience_s: a source that cannot be read is left alone for so long before it is told.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    debounce_s: float = Field(default=1.0, gt=0)
    every_s: float = Field(default=10.0, gt=0)
    patience_s: float = Field(default=30.0, ge=0)


class ImageSettings(BaseModel):
    """From what images are made.

    Attributes:
        base: the image to begin with: a slim one with Python 3.11 to 3.13 and apt.
        pip_conf: a pip configuration that is there while packages are installed, and in no layer; for
            those who have a mirror of the package index.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str = "python:3.11-slim"
    pip_conf: Path | None = None


class JobSettings(BaseModel):
    """The job of a flow run, where Prefect's pool is of the kind ``kubernetes``.

    Attributes:
        image: the factory's, with registry and tag or digest.
        namespace: where jobs are made, which holds our endpoints, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(default="hedonic-worker:latest", min_length=1)
    namespace: str = Field(default="hedonic", min_length=1)


class AlertSettings(BaseModel):
    """Who is told of an alert.

    Attributes:
        channels: apprise URLs, separated by blanks, such as ``mailto://… slack://… json://…``; they may
            hold passwords.
        least: the least severity that is told to them; the log and the book have every alert.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: SecretStr = SecretStr("")
    least: Severity = "info"

    @property
    def urls(self) -> tuple[SecretStr, ...]:
        """Return the channels one by one."""
        return tuple(SecretStr(url) for url in self.channels.get_secret_value().split())


class Settings(BaseSettings):
    """What the environment says, as ``HEDONIC_*``; nested values with ``__``.

    Attributes:
        services: where we ask parts that run elsewhere, in containers of their own.
        pages: where people open the parts, where that is another address than ours: behind a proxy.
        roll_out: how a champion comes to serve: as a process, in a container of its own, or by somebody
            else (``external``), who is told which image to set and is not waited for.
        workers: processes that fit models at once.
        work_pool: of which kind Prefect's pool is: each run a process of the worker's, or a job in a cluster.
        job: the job in a cluster.
        prefect_auth: ``name:password`` that Prefect's server asks for, as Prefect's own variable has it.
        studies_url: of the database that holds the studies, where several machines share them.
    """

    model_config = SettingsConfigDict(
        env_prefix="HEDONIC_", env_nested_delimiter="__", frozen=True, extra="ignore"
    )

    home: Path
    root: Path
    environment_name: Environment = Field(
        default=DEFAULT_ENVIRONMENT, validation_alias=AliasChoices("HEDONIC_ENVIRONMENT", "environment_name")
    )
    host: str = "127.0.0.1"
    dataset: str = "king_county"
    ports: Ports = Field(default_factory=Ports)
    services: Addresses = Field(default_factory=Addresses)
    pages: Addresses = Field(default_factory=Addresses)
    watch: Watch = Field(default_factory=Watch)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    image: ImageSettings = Field(default_factory=ImageSettings)
    roll_out: Literal["process", "container", "external"] = "process"
    workers: int = Field(default=2, ge=1)
    work_pool: Literal["process", "kubernetes"] = "process"
    job: JobSettings = Field(default_factory=JobSettings)
    api_token: str | None = None
    prefect_auth: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("PREFECT_API_AUTH_STRING", "prefect_auth")
    )
    history_url: str | None = None
    store_url: str | None = None
    studies_url: str | None = None

    def address(self, part: ServicePart) -> str:
        """Return where we ask a part."""
        given: str | None = getattr(self.services, part)
        return given or f"http://{self.host}:{getattr(self.ports, part)}"

    def page(self, part: ServicePart) -> str:
        """Return where people open a part."""
        given: str | None = getattr(self.pages, part)
        return given or self.address(part)

    def endpoint_address(self, dataset: str, port: int) -> str:
        """Return where we ask the endpoint of a data set, which listens on the port where it runs here."""
        return _filled(self.services.endpoint or f"http://{self.host}:{port}", dataset)

    def endpoint_page(self, dataset: str, port: int) -> str:
        """Return where people ask the endpoint of a data set."""
        given = self.pages.endpoint
        return _filled(given, dataset) if given else self.endpoint_address(dataset, port)

    @property
    def authorization(self) -> dict[str, str]:
        """Return the header with which we ask our own endpoints: the first of the tokens, if any."""
        token = (self.api_token or "").split(",")[0].strip()
        return {"Authorization": f"Bearer {token}"} if token else {}

    @property
    def expectations(self) -> Path:
        """Return the folder of contracts."""
        return self.root / "expectations"

    @property
    def snapshots(self) -> Path:
        """Return the folder of content-addressed snapshots."""
        return self.home / "snapshots"

    @property
    def releases(self) -> Path:
        """Return the release store: ``releases/<data set>/<digest>/``."""
        return self.home / "releases"

    @property
    def data_docs(self) -> Path:
        """Return the folder of Great Expectations' Data Docs."""
        return self.home / "data_docs"

    @property
    def validations(self) -> Path:
        """Return the folder of validation reports, each named by its digest."""
        return self.home / "validations"

    @property
    def candidates(self) -> Path:
        """Return the folder of candidates: ``candidates/<data set>/<digest>/``."""
        return self.home / "candidates"

    @property
    def reports(self) -> Path:
        """Return the folder of evaluation and comparison reports."""
        return self.home / "reports"

    @property
    def gx(self) -> Path:
        """Return the Great Expectations project derived from the contracts."""
        return self.home / "gx"

    @property
    def serving(self) -> Path:
        """Return the folder of endpoint pointers, ``serving/<data set>.json``."""
        return self.home / "serving"

    @property
    def logs(self) -> Path:
        """Return the folder of process logs."""
        return self.home / "logs"

    @property
    def history(self) -> str:
        """Return the SQLAlchemy URL of the history."""
        return self.history_url or f"sqlite:///{self.home / 'history.db'}"

    @property
    def tracking_uri(self) -> str:
        """Return MLflow's tracking and registry URI: a server's that runs elsewhere, or our own SQLite."""
        return self.services.mlflow or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Return the folder of MLflow's run artifacts."""
        return self.home / "mlflow" / "artifacts"

    @property
    def studies(self) -> Path | str:
        """Return what holds every Optuna study: a journal, or the URL of a database."""
        return self.studies_url or self.home / "optuna" / "studies.journal"

    @property
    def written_studies(self) -> Path | str:
        """Return where studies are, to be told: without the password of a database."""
        return re.sub(r"(?<=:)[^:/@]+(?=@)", "***", self.studies_url) if self.studies_url else self.studies

    @property
    def written_tracking(self) -> Path | str:
        """Return where MLflow's runs are, to be told."""
        return self.page("mlflow") if self.services.mlflow else self.home / "mlflow" / "mlflow.db"

    @property
    def bentos(self) -> Path:
        """Return BentoML's home."""
        return self.home / "bentoml"

    @property
    def prefect_home(self) -> Path:
        """Return Prefect's home."""
        return self.home / "prefect"

    def environment(self) -> dict[str, str]:
        """Return the variables with which each tool's own command line sees our state."""
        return {
            "HEDONIC_HOME": str(self.home),
            "HEDONIC_ROOT": str(self.root),
            "HEDONIC_ENVIRONMENT": self.environment_name,
            "PREFECT_HOME": str(self.prefect_home),
            "PREFECT_API_URL": f"{self.address('prefect')}/api",
            "PREFECT_SERVER_API_HOST": self.host,
            "PREFECT_SERVER_API_PORT": str(self.ports.prefect),
            "PREFECT_SERVER_UI_API_URL": f"{self.page('prefect')}/api",
            "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "optuna,mlflow,hedonic",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # a hook's lines belong to no run
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "MLFLOW_REGISTRY_URI": self.tracking_uri,
            "MLFLOW_BACKEND_STORE_URI": self.tracking_uri,  # what `mlflow ui` reads
            "MLFLOW_DEFAULT_ARTIFACT_ROOT": self.mlflow_artifacts.as_uri(),
            "MLFLOW_HOST": self.host,
            "MLFLOW_PORT": str(self.ports.mlflow),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "BENTOML_HOME": str(self.bentos),
            "HEDONIC_STUDIES": str(self.studies),
            **QUIET_ENVIRONMENT,
            **NUMERIC_ENVIRONMENT,
        }


def _filled(address: str, dataset: str) -> str:
    """Return the address of a data set's endpoint; the name of a host has no underscore."""
    return address.format(dataset=dataset, name=dataset.replace("_", "-"))


def find_root(start: Path) -> Path:
    """Return the nearest folder at or above ``start`` that holds ``prefect.yaml``.

    Raises:
        UserError: there is none: ``start`` is not inside a Hedonic project.
    """
    for folder in (start, *start.parents):
        if (folder / ROOT_MARKER).is_file():
            return folder
    raise UserError(
        f"{start}: not inside a Hedonic project (no {ROOT_MARKER} here or above). "
        "Change into the project's folder and run the command again."
    )


def load_settings(start: Path | None = None) -> Settings:
    """Return the settings of the project around ``start`` (default: the current folder)."""
    import os

    root = Path(os.environ.get("HEDONIC_ROOT") or find_root((start or Path.cwd()).resolve()))
    home = Path(os.environ.get("HEDONIC_HOME") or root / ".hedonic")
    if not home.is_absolute():
        home = root / home
    return Settings(root=root, home=home)
