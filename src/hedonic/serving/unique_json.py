"""JSON in which no object gives a field twice."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import orjson

from hedonic.serving.fields import show
from hedonic.serving.problems import MAX_PROBLEMS, Problem, RequestRefused, clip


def quick_instances(body: bytes) -> list[dict[str, Any]] | None:
    """Return the rows of a body that is ``{"instances": [{...}, ...]}`` and gives no field twice, else None.

    None means that the body is to be read by ``parse``, which is slower and says what is wrong. orjson
    reads an integer beyond 64 bits as the nearest float; in all else both read the same.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    instances = content.get("instances") if type(content) is dict else None
    if type(instances) is not list or set(map(type, instances)) != {dict}:
        return None
    return instances if len(content) == 1 and body.count(b":") == 1 + sum(map(len, instances)) else None


def parse(body: bytes) -> Any:
    """Return the JSON value of a request's body.

    An object has a colon outside of its texts for every pair. So where a body has no more colons than
    fields are kept of it, none was given twice; only otherwise are the pairs looked at one by one.

    Raises:
        RequestRefused: a field is given twice in one object, for one of the two would be ignored.
        ValueError: the body is not JSON.
    """
    content = json.loads(body)
    instances = content.get("instances") if type(content) is dict else None
    if type(instances) is list and set(map(type, instances)) == {dict}:
        n_kept = len(content) + sum(map(len, instances))
        if body.count(b":") == n_kept:
            return content
    content = json.loads(body, object_pairs_hook=_unique)
    if problems := _problems(content):
        told = f"the body gives the field {show(problems[0].path)} twice in one object"
        raise RequestRefused("invalid_json", told, problems)
    return content


class _Twice(dict[str, Any]):
    """An object that gives fields twice: these."""

    names: tuple[str, ...] = ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) == len(pairs):
        return content
    found = _Twice(content)
    count = Counter(name for name, _ in pairs)
    found.names = tuple(name for name in content if count[name] > 1)
    return found


def _problems(content: Any) -> list[Problem]:
    """Return the fields that are given twice, each by its path, as far as they are told at once."""
    problems: list[Problem] = []
    waiting: list[tuple[str, Any]] = [("", content)]
    while waiting and len(problems) < MAX_PROBLEMS:
        path, value = waiting.pop()
        if isinstance(value, dict):
            within = f"{path}." if path else ""
            names = value.names if isinstance(value, _Twice) else ()
            problems += [Problem(within + clip(name), "given twice in one object") for name in names]
            waiting += [(within + clip(name), inner) for name, inner in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(f"{path}[{n}]", inner) for n, inner in reversed(list(enumerate(value)))]
    return problems
