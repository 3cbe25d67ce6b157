"""What is wrong with a request: every problem by the path of its field, told at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hedonic.errors import UserError

MAX_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a request, and where: ``instances[2].bedrooms``."""

    path: str
    message: str


class RequestRefused(UserError):
    """A request is not what the contract says; ``problems`` holds each by the path of its field."""

    def __init__(self, code: str, message: str, problems: Sequence[Problem] = ()) -> None:
        """Keep ``code`` (one word for machines), the message and the problems."""
        super().__init__(message)
        self.code = code
        self.problems = tuple(problems)


def refused(problems: list[Problem]) -> RequestRefused:
    """Return the refusal that lists the problems in the order of their rows."""
    n_problems = len(problems)
    if n_problems > MAX_PROBLEMS:
        more = Problem("", f"{n_problems - MAX_PROBLEMS} more problems are not listed")
        problems = [*problems[:MAX_PROBLEMS], more]
    listed = "1 problem" if n_problems == 1 else f"{n_problems} problems"
    return RequestRefused("invalid_request", f"the request has {listed}", problems)
