"""Progress of a run: one line a step as it ends, and a spinner with the last word of the one at work."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape

from hedonic.orchestration import StepMessage

_MARKS = {"Completed": "[green]done[/]  ", "Cached": "[blue]kept[/]  "}


class StepLines:
    """Prints what it is told: give it to ``run_flow`` as the place where messages go."""

    def __init__(self, console: Console, *, first: str) -> None:
        self._console = console
        self._status = console.status(first)
        self._said: dict[str, str] = {}
        self._since: float | None = None

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None
    ) -> None:
        self._status.stop()

    def __call__(self, message: StepMessage) -> None:
        """Show the message: on the spinner while its step runs, as a line when it has ended.

        A step is timed from the end of the one before; the first from its first word, for what comes
        before that is the start of Prefect.
        """
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if message.ended is None:
            self._said[message.step] = message.text
            self._status.update(f"{escape(message.step)}: {escape(message.text)}")
            return
        seconds, self._since = now - self._since, now
        mark = _MARKS.get(message.ended.split("(")[0], "[red]failed[/]")
        said = escape(self._said.pop(message.step, ""))
        self._console.print(f"{mark} {escape(message.step):<16} {seconds:6.1f} s  {said}")
