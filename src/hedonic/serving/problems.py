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

    def __init__(
        self, code: str, message: str, problems: Sequence[Problem] = (), n_unlisted: int = 0
    ) -> None:
        """Keep ``code`` (one word for machines), the message, the problems, and how many more there are."""
        super().__init__(message)
        self.code = code
        self.listed = tuple(problems)
        self.n_unlisted = n_unlisted

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return the problems as they are told."""
        if not self.n_unlisted:
            return self.listed
        return (*self.listed, Problem("", f"{self.n_unlisted} more problems are not listed"))


def clip(name: str) -> str:
    """Return the name of a field as a path shows it: a caller's may be of any length."""
    return name if len(name) <= 64 else name[:61] + "…"


def refused(problems: Sequence[Problem], n_unlisted: int = 0) -> RequestRefused:
    """Return the refusal that lists the problems in the order of their rows; of very many, the first."""
    listed, n_problems = problems[:MAX_PROBLEMS], len(problems) + n_unlisted
    told = "1 problem" if n_problems == 1 else f"{n_problems} problems"
    return RequestRefused("invalid_request", f"the request has {told}", listed, n_problems - len(listed))


class ProblemList:
    """The problems of a long table: the first are kept, all are counted."""

    def __init__(self) -> None:
        """Hold none."""
        self._kept: list[Problem] = []
        self._n_problems = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return self._n_problems

    def add(self, refusal: RequestRefused) -> None:
        """Add those of a refusal."""
        self._n_problems += len(refusal.listed) + refusal.n_unlisted
        self._kept += refusal.listed[: MAX_PROBLEMS - len(self._kept)]

    def refusal(self) -> RequestRefused:
        """Return the refusal for all of them."""
        return refused(self._kept, self._n_problems - len(self._kept))
