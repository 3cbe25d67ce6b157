"""The page: the state as HTML."""

from __future__ import annotations

import base64
import functools
import hashlib
from datetime import UTC, datetime
from itertools import pairwise

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from hedonic.front_page.state import State

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def render(state: State) -> str:
    """Return the page."""
    now = datetime.fromisoformat(state.at)
    template = _environment().get_template("page.html")
    return template.render(state=state, ago=functools.partial(ago, now=now))


def icon() -> str:
    """Return the icon as SVG."""
    return _environment().get_template("icon.svg").render()


@functools.cache
def source_hash(name: str) -> str:
    """Return how a Content-Security-Policy names the style or script that the page includes."""
    text = _environment().get_template(name).render()
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def ago(time: str, now: datetime) -> str:
    """Return how far a time is from now, in one unit: ``3 min ago``, ``in 5 h``."""
    seconds = (now - datetime.fromisoformat(time)).total_seconds()
    for size, unit in _UNITS:
        if (count := round(abs(seconds)) // size) > 0:
            return f"in {count} {unit}" if seconds < 0 else f"{count} {unit} ago"
    return "now"


def span(seconds: float | None) -> str:
    """Return a duration in its two largest units: ``1 min 20 s``."""
    if seconds is None:
        return ""
    left = round(seconds)
    for (size, unit), (smaller, its_unit) in pairwise(_UNITS):
        if left >= size:
            count, rest = left // size, left % size // smaller
            return f"{count} {unit} {rest} {its_unit}" if rest else f"{count} {unit}"
    return f"{left} s"


def moment(time: str) -> str:
    """Return a time as people write it, in UTC."""
    return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def words(name: str) -> str:
    """Return a name of ours as words: ``rolled_back``, ``run-failed``."""
    return name.replace("_", " ").replace("-", " ").lower()


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hedonic.front_page"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(moment=moment, span=span, words=words)
    return environment
