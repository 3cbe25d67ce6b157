"""The trace: an answer, and everything that it came from, each digest computed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hedonic.data.contract import Frozen
from hedonic.errors import HedonicError, ReleaseRefused, UserError
from hedonic.promotion.history import History
from hedonic.promotion.record import Record
from hedonic.provenance.answers import TracedAnswer, find_answers, trace_answers
from hedonic.provenance.artifacts import artifact_checks
from hedonic.provenance.books import book_checks
from hedonic.provenance.check import Check
from hedonic.provenance.origin import Origin
from hedonic.provenance.surroundings import DIRTY, surrounding_checks
from hedonic.served_settings import LogSettings
from hedonic.serving.prediction_log_entry import Answered
from hedonic.serving.prediction_log_schema import shown
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.predictor import Predictor, load_release
from hedonic.settings import Settings

_NEEDED = ("release", "snapshot", "bento")
"""What is kept as long as the history does not say that it was collected."""


class ReleaseTrace(Frozen):
    """Where a release came from.

    Attributes:
        folder: where its bytes are; None where they are not here.
        made_at, made_by: when and by whom, by its record.
        dirty: whether files differed from the recorded commit; None where no commit was recorded.
        promoted_at, flow_run: by the history; None where it never was champion.
        checks: of what must never change: the release and all that it was made of, and the tools' books.
        surroundings: of what may move on: source, code, lock, toolchain.
    """

    dataset: str
    release: str
    folder: str | None
    made_at: str | None
    made_by: str | None
    dirty: bool | None
    promoted_at: str | None
    flow_run: str | None
    checks: tuple[Check, ...]
    surroundings: tuple[Check, ...]


class Trace(Frozen):
    """Every answer to one request, the served ones first, and the releases that gave them."""

    request_id: str
    log: str
    answers: tuple[TracedAnswer, ...]
    releases: tuple[ReleaseTrace, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is not as it was written down, a sentence each.

        A release, its rows or its bento that are gone are one, unless the history says they were collected.
        """
        told = [
            f"the answer of {answer.at.isoformat(timespec='seconds')} is not what release "
            f"{answer.release[:16]} answers: {answer.problem or 'other bits'}"
            for answer in self.answers
            if answer.n_equal is not None and not answer.equal
        ]
        return (*told, *(problem for release in self.releases for problem in _problems(release)))


def trace_request(settings: Settings, log: LogSettings, request_id: str) -> Trace:
    """Return the trace of an answered request.

    Raises:
        UserError: nothing of it is in the log; the message says where it may have gone.
    """
    url = log.store_below(settings.home)
    parts = _logged(url, request_id)
    if not parts:
        raise UserError(_unknown(url, log, request_id))
    answers, releases = [], dict[tuple[str, str], Origin]()
    for of_one in _grouped(request_id, parts):
        name = (of_one[0].dataset, of_one[0].release)
        if name not in releases:
            releases[name] = Origin.find(settings, *name, read_history(settings, name[0]))
        predictor, problem = _predictor(releases[name])
        answers.append(trace_answers(request_id, of_one, predictor, problem))
    return Trace(
        request_id=request_id,
        log=shown(url),
        answers=tuple(answers),
        releases=tuple(trace_release(origin) for origin in releases.values()),
    )


def trace_release(origin: Origin) -> ReleaseTrace:
    """Return where a release came from."""
    record, crowning = origin.record, origin.crowning
    commit = record.commit if record else None
    return ReleaseTrace(
        dataset=origin.dataset,
        release=origin.release,
        folder=str(origin.folder) if origin.folder else None,
        made_at=record.created_at if record else None,
        made_by=record.created_by if record else None,
        dirty=commit.endswith(DIRTY) if commit else None,
        promoted_at=crowning.at if crowning else None,
        flow_run=crowning.flow_run if crowning else None,
        checks=(*artifact_checks(origin), *book_checks(origin)),
        surroundings=tuple(surrounding_checks(origin)),
    )


def read_history(settings: Settings, dataset: str) -> tuple[Record, ...]:
    """Return every record of a data set, oldest first; a history that does not exist yet is not made."""
    file = settings.history.removeprefix("sqlite:///")
    if file == str(settings.home / "history.db") and not (settings.home / "history.db").exists():
        return ()
    history = History(settings.history)
    try:
        return history.records(dataset)
    finally:
        history.close()


def _logged(url: str, request_id: str) -> tuple[Answered, ...]:
    store = PredictionLogStore(url, at_once=False)
    if store.is_file and not store.file.exists():
        raise UserError(
            f"{store.file}: no prediction log here, so no answer can be traced. If answers are logged "
            "elsewhere, set HEDONIC_PREDICTION_LOG_URL as the service has it."
        )
    try:
        return find_answers(store, request_id)
    finally:
        store.close()


def _grouped(asked: str, parts: Sequence[Answered]) -> Iterator[list[Answered]]:
    """Yield the parts of each answer: a table's belong together, the first has the request's own id."""
    group: list[Answered] = []
    for part in parts:
        begins = part.request_id == asked or (group and group[0].role != part.role)
        if begins and group:
            yield group
            group = []
        group.append(part)
    yield group


def _predictor(origin: Origin) -> tuple[Predictor | None, str | None]:
    """Return what answers for the release, or why nothing does."""
    if origin.folder is None:
        return None, "the release is not here"
    try:
        return load_release(origin.folder, origin.release).predictor, None
    except (ReleaseRefused, HedonicError) as err:
        return None, str(err)


def _unknown(url: str, log: LogSettings, request_id: str) -> str:
    days = log.log_retention_days
    kept = f"answers are deleted after {days:g} days (HEDONIC_LOG_RETENTION_DAYS)" if days else None
    off = "answers are not logged now (HEDONIC_PREDICTION_LOG_MODE is off)"
    reasons = [
        kept or "it is past a retention that the service has set (HEDONIC_LOG_RETENTION_DAYS)",
        off if log.prediction_log_mode == "off" else "the service had HEDONIC_PREDICTION_LOG_MODE=off",
        "it was forgotten (hedonic forget) or purged",
        "it was refused or failed: answers alone are logged",
        "the service logs elsewhere: set HEDONIC_PREDICTION_LOG_URL as it has it",
    ]
    listed = "".join(f"\n  - {reason}" for reason in reasons)
    return f"request {request_id}: nothing of it is in the prediction log {shown(url)}. One of these:{listed}"


def _problems(release: ReleaseTrace) -> Iterator[str]:
    for check in release.checks:
        if check.status == "missing" and check.what in _NEEDED:
            yield (
                f"{check.what} {check.recorded or ''} of release {release.release[:16]} is missing, and the "
                f"history does not say that it was collected: {check.told}"
            )
        if check.status == "differs":
            told = check.told or f"recorded {check.recorded}, found {check.found}"
            yield f"{check.what} of release {release.release[:16]} differs: {told}"
