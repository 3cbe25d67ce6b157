"""The guard's settings: what a request may weigh, how long it may take, and who may ask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from hedonic.errors import UserError
from hedonic.serving.listening import is_loopback

PREFIX = "HEDONIC_GUARD__"
TOKEN = "HEDONIC_API_TOKEN"  # noqa: S105 (the name of the variable)
MIB = 1024 * 1024


class GuardSettings(BaseModel):
    """What the guard allows; from the environment, ``HEDONIC_GUARD__<NAME>`` each.

    Attributes:
        max_body_bytes: of a request; more is 413.
        max_table_bytes: of a table, on ``/invocations``; more is 413.
        body_deadline_s: from the end of the headers to the end of the body; later is 408.
        max_buffered_bytes: of all bodies that are still arriving; more is 503.
        concurrency: requests that are worked on at once.
        queue: requests that wait for their turn; one more is 503.
        queue_wait_s: that a request waits for its turn at most; longer is 503.
        table_concurrency: tables that are worked on at once, beside the other requests.
        table_queue: tables that wait for their turn; one more is 503.
        table_wait_s: that a table waits for its turn at most; longer is 503.
        retry_after_s: told with every 503.
        refusals_per_s: answers 401, 429 and 503 that are given a second at most; the others wait, up to 10 s.
        linger_s: for which the rest of a refused body is still taken (and thrown away) before the
            connection is closed, so that a caller who writes first and reads later sees the answer.
        linger_bytes: that are thrown away at most.
        tokens: the bearer tokens that may ask, from HEDONIC_API_TOKEN, separated by commas: while a token
            is being replaced the old and the new one both hold. None: everyone may ask.
        allow_anonymous: to listen beyond loopback without a token, where something in front asks for one.
        probes_open: whether /livez, /readyz, /healthz, /health and /ping need no token.
        metrics_open: whether /metrics needs no token.
        rate_per_s: requests a second of one client (a token, or an address); more is 429. None: no limit.
        rate_burst: requests that a client may send at once after a pause.
        rate_clients: clients that are remembered; beyond it the one that was longest silent is forgotten.
        cors_origins: origins whose pages may ask (``https://prices.example.com``), separated by commas;
            ``*`` for all.
        access_log: whether every request is a line of the log.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_body_bytes: Annotated[int, Field(ge=1024)] = MIB
    max_table_bytes: Annotated[int, Field(ge=1024)] = 10 * MIB
    body_deadline_s: Annotated[float, Field(gt=0, le=55)] = 5.0
    max_buffered_bytes: Annotated[int, Field(ge=MIB)] = 64 * MIB
    concurrency: Annotated[int, Field(ge=1)] = 8
    queue: Annotated[int, Field(ge=0)] = 256
    queue_wait_s: Annotated[float, Field(gt=0, le=55)] = 2.0
    table_concurrency: Annotated[int, Field(ge=1)] = 2
    table_queue: Annotated[int, Field(ge=0)] = 8
    table_wait_s: Annotated[float, Field(gt=0, le=20)] = 2.0
    retry_after_s: Annotated[int, Field(ge=1)] = 1
    refusals_per_s: Annotated[float, Field(gt=0)] = 200.0
    linger_s: Annotated[float, Field(ge=0, le=10)] = 1.0
    linger_bytes: Annotated[int, Field(ge=0)] = 8 * MIB
    tokens: tuple[SecretStr, ...] = ()
    allow_anonymous: bool = False
    probes_open: bool = True
    metrics_open: bool = False
    rate_per_s: Annotated[float, Field(gt=0)] | None = None
    rate_burst: Annotated[int, Field(ge=1)] = 20
    rate_clients: Annotated[int, Field(ge=1)] = 10_000
    cors_origins: tuple[str, ...] = ()
    access_log: bool = False

    @field_validator("tokens", "cors_origins", mode="before")
    @classmethod
    def _separate(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @field_validator("tokens")
    @classmethod
    def _usable(cls, tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for token in tokens:
            text = token.get_secret_value()
            if not text or not text.isascii() or not text.isprintable() or " " in text:
                raise ValueError("a token is empty, or holds a blank or a character that no header can carry")
        return tokens

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, separator, rest = origin.partition("://")
            if origin != "*" and (
                scheme not in ("http", "https") or not separator or not rest or "/" in rest
            ):
                raise ValueError(f"{origin!r} is not an origin, such as https://prices.example.com")
        return origins

    @property
    def open_paths(self) -> frozenset[str]:
        """Return the paths that need no token and have no rate."""
        probes = {"/livez", "/readyz", "/healthz", "/health", "/ping"} if self.probes_open else set()
        return frozenset(probes | ({"/metrics"} if self.metrics_open else set()))


def read_guard_settings(environment: Mapping[str, str]) -> GuardSettings:
    """Return the guard's settings as an environment states them.

    Raises:
        UserError: a value is out of bounds, or a name is unknown: all of them at once.
    """
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    given.pop("tokens", None)  # secrets have one name
    if token := environment.get(TOKEN):
        given["tokens"] = token
    try:
        return GuardSettings.model_validate(given)
    except ValidationError as err:
        told = "; ".join(_told(problem["loc"], problem["msg"]) for problem in err.errors(include_input=False))
        known = ", ".join(PREFIX + name.upper() for name in GuardSettings.model_fields if name != "tokens")
        raise UserError(f"the guard's settings cannot be used: {told}. There are: {known}, {TOKEN}.") from err


def refuse_open_door(settings: GuardSettings, hosts: Iterable[str]) -> None:
    """Refuse to listen beyond loopback while everyone may ask.

    Raises:
        UserError: with what to set.
    """
    outside = sorted(host for host in hosts if not is_loopback(host))
    if outside and not settings.tokens and not settings.allow_anonymous:
        raise UserError(
            f"{', '.join(outside)}: beyond loopback without a token, so everyone who reaches it may ask. "
            f"Set {TOKEN} (several separated by commas while one replaces another), listen on 127.0.0.1, "
            f"or set {PREFIX}ALLOW_ANONYMOUS=true where something in front asks who calls."
        )


def _told(place: tuple[int | str, ...], message: str) -> str:
    name = str(place[0]).upper() if place else ""
    return f"{TOKEN if name == 'TOKENS' else PREFIX + name}: {message}"
