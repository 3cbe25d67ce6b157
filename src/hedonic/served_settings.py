"""Settings of a served process, around which is no project: where it listens, what it serves and logs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from hedonic.errors import UserError


class _ServedSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="HEDONIC_", env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True
    )

    @classmethod
    def read(cls, otherwise: str) -> Self:
        """Return what the environment says; ``otherwise`` is what cannot be done with a wrong value."""
        try:
            return cls()
        except ValidationError as err:
            raise UserError(f"{otherwise}: {_told(err)}. Correct or unset it.") from err


class ListenSettings(_ServedSettings):
    """Where the process of a container listens: its own loopback is of no use to anyone.

    Attributes:
        host: ``HEDONIC_HOST``.
        port: ``PORT``, as Cloud Run, Render and others set it.
    """

    host: str = "0.0.0.0"  # noqa: S104 (behind the guard, which asks for a token there)
    port: Annotated[int, Field(ge=1, le=65_535)] = Field(default=8080, validation_alias="PORT")


def read_listen_settings() -> ListenSettings:
    """Return where to listen, as the environment says.

    Raises:
        UserError: a value cannot be used; all of them at once.
    """
    return ListenSettings.read("cannot listen")


class LogSettings(_ServedSettings):
    """Where answers are logged: the served process reads this without a project around it.

    Attributes:
        prediction_log_url: of the store: a path, sqlite:///path, postgresql://user@host/database.
        prediction_log_mode: whether an answer waits for its commit, or none is logged.
        log_retention_days: how long an answer is kept; None: nothing is deleted by itself.
    """

    home: Path | None = None
    prediction_log_url: str | None = None
    prediction_log_mode: Literal["fast", "durable", "off"] = "fast"
    log_retention_days: Annotated[float, Field(gt=0, le=36_525, allow_inf_nan=False)] | None = None

    @property
    def url(self) -> str | None:
        """Return the store of answers; None when there is none to be kept, or nowhere to keep it."""
        if self.prediction_log_mode == "off":
            return None
        if self.home is None:
            return self.prediction_log_url
        return self.store_below(self.home)

    def store_below(self, home: Path) -> str:
        """Return the store of answers, whether or not any are kept now: the one in ``home`` unless told."""
        return self.prediction_log_url or str(home / "prediction_log.db")


def read_log_settings() -> LogSettings:
    """Return where answers are logged and for how long, as the environment says.

    Raises:
        UserError: a value cannot be used; all of them at once.
    """
    return LogSettings.read("answers cannot be logged")


class SourceSettings(_ServedSettings):
    """Where the served release comes from: the served process reads this without a project around it.

    Attributes:
        release_uri: of the release; see ``serving.source``.
        release: the digest that it must have.
        follow_s: seconds between two looks at a source that can move; None: it is looked at once.
        store_url: the release store, ``<store>/<data set>/<digest>/``.
        history_url: of the history, which is asked whether a baked release was promoted.
        tracking_uri: of the MLflow server that is asked for an alias.
    """

    home: Path | None = None
    dataset: str = "king_county"
    release_uri: str | None = None
    release: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    follow_s: Annotated[float, Field(ge=0.05, le=86_400)] | None = None
    store_url: str | None = None
    history_url: str | None = None
    tracking_uri: str | None = Field(default=None, validation_alias="MLFLOW_TRACKING_URI")
    tracking_token: SecretStr | None = Field(default=None, validation_alias="MLFLOW_TRACKING_TOKEN")
    tracking_username: str | None = Field(default=None, validation_alias="MLFLOW_TRACKING_USERNAME")
    tracking_password: SecretStr | None = Field(default=None, validation_alias="MLFLOW_TRACKING_PASSWORD")


def read_source_settings() -> SourceSettings:
    """Return where the served release comes from, as the environment says.

    Raises:
        UserError: a value cannot be used; all of them at once.
    """
    return SourceSettings.read("the release cannot be looked for")


def _told(err: ValidationError) -> str:
    """Return what is wrong, by the names of the variables, without their values."""
    return "; ".join(
        f"{_variable(str(problem['loc'][0]))}: {problem['msg']}"
        for problem in err.errors(include_input=False)
    )


def _variable(name: str) -> str:
    """Return the variable of a field, which an alias already is."""
    return name if name.isupper() else f"HEDONIC_{name.upper()}"
