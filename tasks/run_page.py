"""What people see of a run in Prefect: its name, tags, artifacts, progress and log lines."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectException
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.utilities.urls import url_for

Answer = TypeVar("Answer")
Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

REASON_KINDS = ("data changed", "code changed", "retrain requested", "nightly", "first champion", "drift")
_LONGEST_NAME = 200
_PROGRESS_EVERY_S = 1.0

_folder: ContextVar[Path | None] = ContextVar("hedonic_artifact_folder", default=None)


def logger() -> Log:
    """Return where a step logs: its run in Prefect, or a plain logger where it runs alone."""
    return get_run_logger() if TaskRunContext.get() is not None else logging.getLogger("hedonic.step")


@contextmanager
def artifacts_in(folder: Path | None) -> Iterator[None]:
    """Write what steps show as files below ``folder`` for as long as this lasts; None: nowhere."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def show_table(what: str, dataset: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Show a table; what is not a finite number is an empty cell."""
    table = [{name: _cell(value) for name, value in row.items()} for row in rows]
    _show(
        what, json.dumps(table, indent=1), "json",
        lambda: create_table_artifact(key=_key(what, dataset), table=table, description=description),
    )  # fmt: skip


def show_markdown(what: str, dataset: str, markdown: str, description: str) -> None:
    """Show a page."""
    _show(
        what, markdown, "md",
        lambda: create_markdown_artifact(
            key=_key(what, dataset), markdown=markdown, description=description
        ),
    )  # fmt: skip


def show_image(what: str, dataset: str, url: str, description: str) -> None:
    """Show the image at an address."""
    _show(
        what, url, "url",
        lambda: create_image_artifact(key=_key(what, dataset), image_url=url, description=description),
    )  # fmt: skip


def show_link(what: str, dataset: str, url: str, text: str, description: str) -> None:
    """Show a link to another tool's page."""
    _show(
        what, url, "url",
        lambda: create_link_artifact(
            key=_key(what, dataset), link=url, link_text=text, description=description
        ),
    )  # fmt: skip


class Progress:
    """How far a long step is, as an artifact that moves."""

    def __init__(self, what: str, dataset: str, description: str) -> None:
        """Show a bar at 0 %."""
        self._id: UUID | None = None
        self._told_at = time.monotonic()
        if TaskRunContext.get() is not None:
            key = _key(f"{what}-progress", dataset)
            self._id = _attempt(
                what, lambda: cast(UUID, create_progress_artifact(0.0, key=key, description=description))
            )

    def reach(self, done: float, of: float) -> None:
        """Move the bar; but for the end, at most once a second."""
        now, percent = time.monotonic(), 100.0 * min(1.0, done / of) if of else 100.0
        artifact = self._id
        if artifact is None or (percent < 100.0 and now - self._told_at < _PROGRESS_EVERY_S):
            return
        self._told_at = now
        _attempt("progress", lambda: update_progress_artifact(artifact_id=artifact, progress=percent))


def name_run(dataset: str, reason: str, digest: str) -> None:
    """Let the run's name say data set, reason and digest, and its tags the first two."""
    name = f"{dataset}: {reason}"[:_LONGEST_NAME] + f" ({digest[:12]})"
    _describe(name, (dataset, reason_kind(reason)))


def tag_run(*tags: str) -> None:
    """Put tags on the run, by which people filter; those it has stay."""
    _describe(None, tags)


def reason_kind(reason: str) -> str:
    """Return the kind of a reason, such as ``data-changed``; what somebody wrote is ``by-hand``."""
    kind = next((kind for kind in REASON_KINDS if reason.lower().startswith(kind)), "by hand")
    return kind.replace(" ", "-")


def run_url(run_id: UUID | str) -> str | None:
    """Return the page of a flow run in Prefect's UI; None when no server stays to show it."""
    if not get_current_settings().api.url:
        return None
    return url_for("flow-run", obj_id=run_id)


def own_url() -> str | None:
    """Return the page of the run that this code is part of; None outside one, or without a server."""
    return run_url(flow_run.id) if flow_run.id else None


def relay_logs() -> None:
    """Let the lines of Optuna, MLflow and ours reach Prefect's log view, whenever they were imported.

    MLflow's own set-up drops the handlers that Prefect gave its logger. What these loggers would write to
    the terminal by themselves is kept to warnings.
    """
    names = get_current_settings().logging.extra_loggers
    for name in (names or "").split(",") if isinstance(names, str) else names or ():
        extra = logging.getLogger(name.strip())
        if extra.getEffectiveLevel() > logging.INFO:
            extra.setLevel(logging.INFO)
        if not any(isinstance(handler, APILogHandler) for handler in extra.handlers):
            for handler in logging.getLogger("prefect.extra").handlers:
                extra.addHandler(handler)
        for handler in extra.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, APILogHandler):
                handler.setLevel(max(handler.level, logging.WARNING))


def _show(what: str, text: str, suffix: str, create: Callable[[], object]) -> None:
    folder = _folder.get()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{what}.{suffix}").write_text(text, encoding="utf-8")
    if TaskRunContext.get() is not None:
        _attempt(what, create)


def _attempt(what: str, call: Callable[[], Answer]) -> Answer | None:
    """Return what the server answers, None when it cannot: no run fails for what it would have shown."""
    try:
        return call()
    except (httpx.HTTPError, PrefectException) as err:
        logger().warning("%s cannot be shown: %s", what, err)
        return None


def _describe(name: str | None, tags: Sequence[str]) -> None:
    run_id = flow_run.id
    if run_id is None:
        return

    def update() -> None:
        with get_client(sync_client=True) as client:
            run = client.read_flow_run(UUID(run_id))
            all_tags = list(dict.fromkeys([*run.tags, *tags]))
            client.update_flow_run(run.id, name=name or run.name, tags=all_tags)

    _attempt("name and tags of the run", update)


def _key(what: str, dataset: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", f"{what}-{dataset}".lower()).strip("-")


def _cell(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
