"""What the prediction log holds: an answer as it is written, and its rows as they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from hedonic.errors import HedonicError

Role = Literal["served", "shadow"]
"""Whether an answer was returned to the caller, or only written down beside the one that was."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROOMY = 4096
_ROOM_PER_ROW = 1024


class Answered(NamedTuple):
    """One answered request, as the log stores it: the fields are the columns, in their order.

    A request is stored whole, as the bytes that came and the bytes that went: the service has both at
    hand, so a request of 100 rows costs as little to log as a request of one.

    Attributes:
        request_id: as in the response.
        at_us: when it was answered, in microseconds since 1970-01-01 UTC.
        role: returned to the caller, or shadow.
        dataset: name of the data set.
        release: digest of the release that answered.
        route: path that was asked.
        n_rows: number of predictions.
        latency_ms: from the request's arrival to its answer.
        request: JSON ``{"instances": [...]}``.
        response: JSON ``{"predictions": [...], ...}``.
    """

    request_id: str
    at_us: int
    role: Role
    dataset: str
    release: str
    route: str
    n_rows: int
    latency_ms: float
    request: bytes
    response: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of an answered request."""

    request_id: str
    row: int
    at: datetime
    role: Role
    dataset: str
    release: str
    route: str
    latency_ms: float
    inputs: dict[str, Any]
    estimate: float
    interval_80: tuple[float, float]
    interval_90: tuple[float, float]
    grade: str
    warnings: tuple[str, ...]


def microseconds(at: datetime) -> int:
    """Return an aware time as microseconds since 1970-01-01 UTC."""
    return (at - EPOCH) // timedelta(microseconds=1)


def moment(at_us: int) -> datetime:
    """Return the time that is so many microseconds after 1970-01-01 UTC."""
    return EPOCH + timedelta(microseconds=at_us)


def entries(answered: Answered) -> Iterator[Entry]:
    """Yield the rows of an answered request that were not forgotten since.

    Raises:
        HedonicError: what is stored is not a request and its response.
    """
    at = moment(answered.at_us)
    try:
        instances = json.loads(answered.request)["instances"]
        predictions = json.loads(answered.response)["predictions"]
        for row, (inputs, said) in enumerate(zip(instances, predictions, strict=True)):
            if inputs is not None:
                yield Entry(
                    request_id=answered.request_id,
                    row=row,
                    at=at,
                    role=answered.role,
                    dataset=answered.dataset,
                    release=answered.release,
                    route=answered.route,
                    latency_ms=answered.latency_ms,
                    inputs=inputs,
                    estimate=said["estimate"],
                    interval_80=tuple(said["interval_80"]),
                    interval_90=tuple(said["interval_90"]),
                    grade=said["confidence"]["grade"],
                    warnings=tuple(said["warnings"]),
                )
    except (ValueError, KeyError, TypeError) as err:
        raise HedonicError(
            f"prediction log: request {answered.request_id}: what is stored is not a request with its "
            f"response ({type(err).__name__}: {err}). Something else wrote it; delete it: forget the request."
        ) from err


def stored(answered: Answered) -> Answered:
    """Return the answer with its request as UTF-8 without padding; nearly always as it came.

    JSON may come as UTF-16, and a caller may send a megabyte of blanks around one row.
    """
    body = answered.request
    small = len(body) <= _ROOMY + _ROOM_PER_ROW * answered.n_rows
    if small and 0 not in body[:4] and body[:1] in b"{ \n\r\t":
        return answered
    return answered._replace(request=_to_bytes(json.loads(body)))


def without(answered: Answered, rows: Set[int]) -> Answered | None:
    """Return the answer with these rows blanked, the others keeping their numbers; None when none is left."""
    request, response = json.loads(answered.request), json.loads(answered.response)
    for row in rows:
        request["instances"][row] = response["predictions"][row] = None
    n_rows = sum(inputs is not None for inputs in request["instances"])
    if n_rows == 0:
        return None
    return answered._replace(n_rows=n_rows, request=_to_bytes(request), response=_to_bytes(response))


def matches(inputs: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether the inputs hold every wanted value: numbers by value, texts in any case."""
    return all(name in inputs and _same(inputs[name], value) for name, value in wanted.items())


def _same(got: Any, wanted: Any) -> bool:
    if isinstance(got, str) and isinstance(wanted, str):
        return got.casefold() == wanted.casefold()
    return bool(isinstance(got, bool) == isinstance(wanted, bool) and got == wanted)


def _to_bytes(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
