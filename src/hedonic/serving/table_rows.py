"""The rows of a table as they were sent: each the JSON text of an instance, read one after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from hedonic.serving.problems import Problem, RequestRefused, refused

_BLANK = re.compile(r"[ \t\n\r]*")
_INSTANCE = re.compile(r"instances\[(\d+)\]")
_SHAPE = 'must be an object {"instances": [...]} with nothing beside it'
_OTHER_FORM = {"{": Problem("", _SHAPE), "[": Problem("instances", "must be a list of objects")}
_SHORT = 65_536

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that cannot be made an instance: why, in words that complete "<row> ..."."""

    reason: str


TableRow = str | Unreadable


def json_rows(body: bytes) -> Iterator[str]:
    """Yield the JSON text of each instance of ``{"instances": [...]}``, none of them checked yet.

    The body is never parsed whole, which for megabytes would hold up everyone else meanwhile.

    Raises:
        RequestRefused: the body is not of that form; told when the reader gets there.
    """
    try:
        yield from _instances(body.decode(json.detect_encoding(body), "surrogatepass"))
    except RecursionError as err:
        raise RequestRefused("invalid_json", "the body is not JSON: nested too deep") from err
    except ValueError as err:
        raise RequestRefused("invalid_json", f"the body is not JSON: {err}") from err


def _instances(text: str) -> Iterator[str]:
    decode = json.JSONDecoder().raw_decode
    at = _expect(text, 0, "{")
    key, at = decode(text, at)
    if key != "instances":
        raise refused([_OTHER_FORM["{"]])
    at = _expect(text, _expect(text, at, ":"), "[")
    if text[at : at + 1] == "]":
        raise refused([Problem("instances", "must hold one row or more; got none")])
    while True:
        _, end = decode(text, at)
        yield text[at:end]
        at = _skip(text, end)
        if text[at : at + 1] != ",":
            break
        at = _skip(text, at + 1)
    at = _expect(text, at, "]")
    if text[at : at + 1] == ",":
        raise refused([_OTHER_FORM["{"]])
    if (at := _expect(text, at, "}")) != len(text):
        raise json.JSONDecodeError("Extra data", text, at)


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _expect(text: str, at: int, mark: str) -> int:
    """Return where the text goes on after the mark and the blanks around it."""
    at = _skip(text, at)
    if text[at : at + 1] == mark:
        return _skip(text, at + 1)
    if mark in _OTHER_FORM and at < len(text):
        if len(text) - at < _SHORT:
            json.JSONDecoder().raw_decode(text, at)  # no JSON at all is another fault
        raise refused([_OTHER_FORM[mark]])
    raise json.JSONDecodeError(f"Expecting {mark!r}", text, at)


def chunks(rows: Iterable[TableRow], n_rows: int) -> Iterator[list[TableRow]]:
    """Yield the rows, so many at a time."""
    reading = iter(rows)
    while chunk := list(islice(reading, n_rows)):
        yield chunk


def request_body(rows: Iterable[str]) -> bytes:
    """Return the body of a request about the rows."""
    return f'{{"instances":[{",".join(rows)}]}}'.encode("utf-8", "surrogatepass")


def ask_about(rows: Sequence[TableRow], first: int, ask: Callable[[bytes], list[Answer]]) -> list[Answer]:
    """Return what a request about the rows is answered.

    Args:
        rows: at most as many as a request may hold.
        first: the number in its table of the first of them.
        ask: answers the body of a request.

    Raises:
        RequestRefused: with every problem, by the number of its row in the table.
    """
    readable = [(n, row) for n, row in enumerate(rows, first) if isinstance(row, str)]
    problems = [
        Problem(f"instances[{n}]", row.reason)
        for n, row in enumerate(rows, first)
        if not isinstance(row, str)
    ]
    n_unlisted, answers = 0, []
    if readable:
        try:
            answers = ask(request_body(row for _, row in readable))
        except RequestRefused as err:
            if not err.listed:
                told = f"rows {readable[0][0]} to {readable[-1][0]} of the table: {err}"
                raise RequestRefused(err.code, told) from err
            numbers = [n for n, _ in readable]
            problems += [_placed(problem, numbers) for problem in err.listed]
            n_unlisted = err.n_unlisted
    if problems:
        raise refused(sorted(problems, key=row_of), n_unlisted)
    return answers


def row_of(problem: Problem) -> int:
    """Return the number of the row that a problem is about; -1 where it is about none."""
    found = _INSTANCE.match(problem.path)
    return int(found[1]) if found else -1


def _placed(problem: Problem, numbers: Sequence[int]) -> Problem:
    found = _INSTANCE.match(problem.path)
    if found is None:
        return problem
    return replace(problem, path=f"instances[{numbers[int(found[1])]}]{problem.path[found.end() :]}")
