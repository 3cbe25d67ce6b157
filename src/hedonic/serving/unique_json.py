"""JSON in which no object gives a field twice."""

from __future__ import annotations

import json
from typing import Any

from hedonic.serving.fields import show
from hedonic.serving.problems import RequestRefused


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
    return json.loads(body, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise RequestRefused("invalid_json", f"the body gives the field {show(twice)} twice in one object")
    return content
