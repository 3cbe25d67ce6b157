"""The logs of answers: the command's own, and each that a supervised endpoint was told to write to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hedonic.endpoint import process_name
from hedonic.errors import UserError
from hedonic.served_settings import LogSettings
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.settings import Settings
from hedonic.supervisor import Supervisor

_VARIABLES = {
    "HEDONIC_PREDICTION_LOG_URL": "prediction_log_url",
    "HEDONIC_PREDICTION_LOG_MODE": "prediction_log_mode",
    "HEDONIC_LOG_RETENTION_DAYS": "log_retention_days",
}


def answer_logs(settings: Settings, log: LogSettings, datasets: Iterable[str]) -> tuple[LogSettings, ...]:
    """Return where answers are logged: as the command is told, and as each running endpoint is.

    Args:
        settings: name the home.
        log: as the command's own environment says.
        datasets: whose endpoints are looked at.
    """
    supervisor, logs = Supervisor(settings), [log]
    for dataset in datasets:
        name = process_name(dataset)
        if name in supervisor.names():
            has = supervisor.environment(name) | supervisor.running_environment(name)
            given = {field: has[variable] for variable, field in _VARIABLES.items() if has.get(variable)}
            logs.append(LogSettings.model_validate(log.model_dump(exclude_none=True) | given))
    return tuple(logs)


def open_logs(
    settings: Settings, logs: Iterable[LogSettings]
) -> Iterator[tuple[LogSettings, PredictionLogStore]]:
    """Yield each log that is there, with its store opened."""
    for log in logs:
        url = log.store_below(settings.home)
        store = PredictionLogStore(url, at_once=False)
        try:
            if not store.is_file or store.file.exists():
                yield log, store
        finally:
            store.close()


def require_log(settings: Settings, logs: tuple[LogSettings, ...], dataset: str) -> None:
    """Refuse to take releases away that were served, where nobody knows what answers point to them.

    Raises:
        UserError: there is no log, and none was declared off.
    """
    if any(log.prediction_log_mode == "off" for log in logs) or any(True for _ in open_logs(settings, logs)):
        return
    raise UserError(
        f"{dataset}: releases that were champion would go, and there is no prediction log in {settings.home} "
        "to say whether answers point to them. Set HEDONIC_PREDICTION_LOG_URL as the service has it, or "
        "HEDONIC_PREDICTION_LOG_MODE=off where no answers are logged. Nothing was taken away."
    )
