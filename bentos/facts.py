"""What the valuation service says beside prices: about its release, its jobs and its errors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from bentos.messages import Digest, Model, RequestId


class Target(BaseModel):
    """What is estimated."""

    column: str
    unit: str


class ReleaseSource(BaseModel):
    """Where the release came from."""

    uri: str
    kind: Literal["baked", "champion", "registry", "folder", "s3"]
    baked: Digest | None = Field(description="The release that is baked into the bento")


class RefusedRelease(BaseModel):
    """A release that was to be served next and is not: the one before it stays."""

    release: Digest | None = Field(description="Null where what names it cannot be read")
    reason: str
    at: str = Field(description="When, ISO 8601 in UTC")


class InfoResponse(BaseModel):
    """What is served, what it was made from and where it came from."""

    model: Model
    dataset: str
    target: Target
    source: ReleaseSource
    bento: str | None = Field(description="The tag of the bento, where it is served from one")
    code: str | None = Field(description="Digest of all that the bento holds but its release")
    refused: RefusedRelease | None = Field(
        description="The release that was to be served next and was refused; null once another is named"
    )
    traffic: dict[str, Any] | None = Field(
        None, description="The challenger that is tried beside it: plan, figures, state and reason"
    )
    made_from: dict[str, Any] = Field(description="Digests of snapshot, split, lock and code; configuration")
    record: dict[str, Any] | None = Field(description="Run, study, trial, commit, time and figures, if known")


class TaskResponse(BaseModel):
    """A long job."""

    task_id: str = Field(description="By which the job is asked about")
    status: Literal["pending", "in_progress", "completed", "failed", "canceled"]
    created_at: str | None = Field(None, description="In UTC; told by /score/status")
    executed_at: str | None = Field(None, description="In UTC, once it is finished; told by /score/status")


class HealthResponse(BaseModel):
    """That it is ready."""

    status: Literal["ready"]


class Problem(BaseModel):
    """What is wrong, and where."""

    path: str = Field(description="Of the field, such as instances[2].bedrooms; empty for the whole body")
    message: str


class ErrorContent(BaseModel):
    """What went wrong."""

    code: str = Field(description="One word for machines")
    message: str = Field(description="A sentence for people")
    problems: list[Problem] = Field(description="Every problem of the request at once (the first 1000)")


class ErrorResponse(BaseModel):
    """The one shape of every error."""

    error: ErrorContent
    request_id: RequestId
