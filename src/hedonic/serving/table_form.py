"""The forms of a table in HTTP: what its rows are read from, and what is answered about them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from hedonic.data.contract import Contract
from hedonic.serving.csv_rows import CsvRows, decoded_csv, lines_of
from hedonic.serving.predictor import Prediction, Release
from hedonic.serving.problems import RequestRefused
from hedonic.serving.responses import JSON_TYPE
from hedonic.serving.table_rows import TableRow, json_rows

CSV_TYPE = "text/csv"
RESULT_COLUMNS = ("estimate", "low_80", "high_80", "low_90", "high_90", "confidence_grade", "warnings")


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How an answer is written: a head, the rows chunk by chunk with something between, and a tail."""

    media_type: str
    head: bytes
    between: bytes
    tail: bytes
    rows: Callable[[Sequence[Prediction]], bytes]


def read_rows(contract: Contract, media_type: str, body: bytes) -> Iterator[TableRow]:
    """Return the rows of a request's body, JSON or CSV by its media type.

    Raises:
        RequestRefused: it is neither, or is not what its media type says.
    """
    kind, parameters = _parsed(media_type)
    if kind in (JSON_TYPE, ""):
        return json_rows(body)
    if kind != CSV_TYPE:
        told = f"send the table as {JSON_TYPE} or {CSV_TYPE} (-H 'Content-Type: {CSV_TYPE}')"
        raise RequestRefused("unsupported_media_type", told)
    if parameters.get("charset", "utf-8") not in ("utf-8", "us-ascii"):
        told = f"send the table in UTF-8; got charset={parameters['charset'][:40]}"
        raise RequestRefused("unsupported_media_type", told)
    return iter(CsvRows(contract, lines_of(decoded_csv(body)), header=_has_header(media_type)))


def answer_form(release: Release, request_id: str, media_type: str, accept: str) -> AnswerForm:
    """Return the form of the answer: CSV where it is liked better than JSON.

    It has a header row unless the table was CSV without one.
    """
    if _quality(accept, CSV_TYPE) > _quality(accept, JSON_TYPE):
        named = _parsed(media_type)[0] != CSV_TYPE or _has_header(media_type)
        kind = f"{CSV_TYPE}; charset=utf-8; header={'present' if named else 'absent'}"
        return AnswerForm(kind, csv_line(RESULT_COLUMNS).encode() if named else b"", b"", b"", csv_results)
    return json_form(release, request_id)


def json_form(release: Release, request_id: str) -> AnswerForm:
    """Return the form of an answer to ``/predict``."""
    said = orjson.dumps({"model": release.model.facts, "request_id": request_id})
    return AnswerForm(
        JSON_TYPE, b'{"predictions":[', b",", b"]," + said[1:], lambda rows: orjson.dumps(rows)[1:-1]
    )


def csv_results(predictions: Sequence[Prediction]) -> bytes:
    """Return the predictions as lines of CSV."""
    return "".join([csv_line(result_values(prediction)) for prediction in predictions]).encode()


def result_values(prediction: Prediction) -> tuple[float | str, ...]:
    """Return the values of ``RESULT_COLUMNS``."""
    low_80, high_80 = prediction["interval_80"]
    low_90, high_90 = prediction["interval_90"]
    grade = prediction["confidence"]["grade"]
    return prediction["estimate"], low_80, high_80, low_90, high_90, grade, "; ".join(prediction["warnings"])


def csv_line(values: Sequence[float | str]) -> str:
    """Return a line of CSV; a number in the fewest digits that give it back."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)
    return line.getvalue()


def _has_header(media_type: str) -> bool:
    """Return whether a CSV table has a header row (RFC 4180, section 3: the parameter ``header``)."""
    header = _parsed(media_type)[1].get("header", "present")
    if header not in ("present", "absent"):
        told = f"the parameter header of {CSV_TYPE} is present or absent; got {header[:40]}"
        raise RequestRefused("unsupported_media_type", told)
    return header == "present"


def _parsed(media_type: str) -> tuple[str, dict[str, str]]:
    """Return a media type and its parameters, all in lower case."""
    kind, *rest = media_type.lower().split(";")
    pairs = (part.partition("=") for part in rest)
    return kind.strip(), {name.strip(): value.strip().strip('"') for name, _, value in pairs}


def _quality(accept: str, kind: str) -> float:
    """Return how much a caller likes a media type (RFC 9110, section 12.5.1), by its most precise range."""
    ranges = {kind: 3, f"{kind.partition('/')[0]}/*": 2, "*/*": 1}
    liked = (0, 0.0)
    for part in accept.split(","):
        name, parameters = _parsed(part)
        try:
            quality = float(parameters.get("q", "1"))
        except ValueError:
            quality = 0.0
        liked = max(liked, (ranges.get(name, 0), quality if name in ranges else 0.0))
    return liked[1]
