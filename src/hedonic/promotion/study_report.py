"""The study as an immutable report: every trial and baseline, and the recipe that came of them."""

from __future__ import annotations

from typing import ClassVar

from hedonic.model.study import Tuning
from hedonic.promotion.evaluation import Report


class StudyReport(Report):
    """The alternatives of a candidate: what else was tried, and what came of it."""

    kind: ClassVar[str] = "study"

    format_version: int = 1
    dataset: str
    tuning: Tuning
