"""A trace goes from an answer back to its rows; what is not as it was written down is named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hedonic.errors import UserError
from hedonic.model.manifest import RECORD
from hedonic.promotion.history import Entry, History
from hedonic.provenance.check import Check
from hedonic.provenance.trace import Trace, trace_request
from hedonic.served_settings import LogSettings
from hedonic.serving.answer_record import AsideLog
from hedonic.serving.answering import Answering
from hedonic.serving.asgi import Exchange
from hedonic.serving.erasure import forget_rows
from hedonic.serving.prediction_log import PredictionLog
from hedonic.serving.prediction_log_store import PredictionLogStore
from hedonic.serving.predictor import Release, load_release
from hedonic.serving.table_log import TableRecord
from hedonic.serving.traffic import Traffic
from hedonic.serving.traffic_plan import TrafficLimits, TrafficPlan
from hedonic.serving.traffic_plan_file import PlanFile
from tests.lived_in import LivedIn
from tests.tiny_release import ROW, constant_model, tiny_release
from tests.waiting import wait_for

SOUND = {"release", "judged model", "contract", "snapshot", "split"}


def traced(home: LivedIn, request_id: str = "r1", **log: str) -> Trace:
    return trace_request(home.settings, LogSettings(home=home.settings.home, **log), request_id)  # type: ignore[arg-type]


def checks(trace: Trace) -> dict[str, Check]:
    (release,) = trace.releases
    return {check.what: check for check in (*release.checks, *release.surroundings)}


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_an_answer_is_computed_again_bit_for_bit_and_every_digest_with_it(
    home: LivedIn, store: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres_url") if store == "postgres" else home.log
    home.answered(home.row, {**home.row, "rooms": 5}, url=url)
    trace = traced(home, prediction_log_url=url)
    (answer,) = trace.answers
    assert (answer.role, answer.n_rows, answer.n_equal, answer.equal) == ("served", 2, 2, True)
    assert answer.rows[1].inputs["rooms"] == 5
    assert answer.rows[0].answer["interval_90"][0] < answer.rows[0].answer["estimate"]
    assert trace.problems == ()
    found = checks(trace)
    assert {what for what, check in found.items() if check.status == "verified"} >= SOUND | {"source"}
    assert found["snapshot"].recorded == found["snapshot"].found == home.snapshot.digest
    assert found["source"].told == home.contract.source.uri
    assert found["bento"].status == found["study and trial"].status == "unchecked"
    assert found["model version"].status == "missing"
    assert (trace.releases[0].made_by, trace.releases[0].dirty) == ("ana", None)


def test_an_answer_that_the_release_does_not_give_is_a_problem(home: LivedIn) -> None:
    home.answered(response=_with_another_estimate(home))
    trace = traced(home)
    assert not trace.answers[0].equal
    again = trace.answers[0].rows[0].again
    assert again is not None
    assert again["estimate"] != trace.answers[0].rows[0].answer["estimate"]
    (problem,) = trace.problems
    assert "is not what release" in problem
    assert problem.endswith("answers: other bits")


def _with_another_estimate(home: LivedIn) -> bytes:
    """Return the answer with its estimate moved by one unit in the last place."""
    prediction = load_release(home.folder).predictor.predict([home.row])[0]
    estimate = float.fromhex(prediction["estimate"].hex())
    moved = {**prediction, "estimate": estimate * (1 + 2**-52)}
    return json.dumps({"predictions": [moved]}).encode()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _rewrite_rows(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    prices = table["price"].to_pylist()
    prices[7] += 1.0
    at = table.schema.get_field_index("price")
    pq.write_table(table.set_column(at, "price", pa.array(prices, pa.float64())), path)


@pytest.mark.parametrize(
    ("file", "change", "what", "told"),
    [
        ("model/point/trees.txt", _flip, {"release", "judged model"}, "model/point/trees.txt: changed"),
        ("manifest.json", _flip, {"release"}, "manifest.json"),
        ("contract.json", lambda p: p.write_text(p.read_text().replace('"houses"', '"horses"', 1)),
         {"release"}, "contract.json: changed"),
    ],
)  # fmt: skip
def test_a_changed_release_differs_and_answers_nothing(
    home: LivedIn, file: str, change: Callable[[Path], object], what: set[str], told: str
) -> None:
    home.answered()
    change(home.folder / file)
    trace = traced(home)
    assert {name for name, check in checks(trace).items() if check.status == "differs"} >= what
    assert trace.answers[0].n_equal is None
    assert told in str(trace.answers[0].problem)
    assert any(told in problem for problem in trace.problems)


def test_changed_rows_differ_whatever_the_file_says_of_itself(home: LivedIn) -> None:
    home.answered()
    file = home.settings.snapshots / "houses" / home.snapshot.digest / "snapshot.parquet"
    _rewrite_rows(file)
    trace = traced(home)
    found = checks(trace)["snapshot"]
    assert (found.status, found.recorded) == ("differs", home.snapshot.digest)
    assert found.found not in (None, home.snapshot.digest)
    assert any("snapshot of release" in problem for problem in trace.problems)
    assert trace.answers[0].equal  # the release needs no rows to answer
    _flip(file)
    assert checks(traced(home))["snapshot"].status == "differs"


def test_rows_set_aside_otherwise_give_another_split(home: LivedIn) -> None:
    home.answered()
    other = home.report.model_copy(update={"quarantined": (3, 399)})
    other.write(home.settings.validations)
    record = json.loads((home.folder / RECORD).read_text())
    (home.folder / RECORD).write_text(json.dumps({**record, "validation": other.sha256}))
    assert checks(traced(home))["split"].status == "differs"
    (home.folder / RECORD).write_text(json.dumps({**record, "validation": None}))
    (home.settings.validations / f"{other.sha256}.json").unlink()
    assert checks(traced(home))["split"].status == "verified"


def test_what_is_gone_and_was_not_collected_is_missing_and_a_problem(home: LivedIn) -> None:
    home.answered()
    (home.settings.snapshots / "houses" / home.snapshot.digest / "snapshot.parquet").unlink()
    (home.settings.root / home.contract.source.uri).unlink()
    trace = traced(home)
    assert {checks(trace)[what].status for what in ("snapshot", "source")} == {"missing"}
    assert checks(trace)["split"].status == "unchecked"
    (problem,) = trace.problems
    assert problem.startswith(f"snapshot {home.snapshot.digest} of release {home.release[:16]} is missing")
    (home.folder / "manifest.json").unlink()
    gone = traced(home)
    assert (checks(gone)["release"].status, gone.answers[0].problem) == ("missing", "the release is not here")
    told = [problem.partition(" ")[0] for problem in gone.problems]
    assert sorted(told) == ["release", "snapshot"]


def test_what_is_around_a_release_may_be_gone_and_that_is_no_problem(home: LivedIn) -> None:
    home.answered()
    (home.settings.root / home.contract.source.uri).unlink()
    trace = traced(home)
    assert (checks(trace)["source"].status, trace.problems) == ("missing", ())


def test_what_was_collected_is_told_from_what_is_missing(home: LivedIn) -> None:
    home.answered()
    home.append(release="b" * 64)  # a champion is never collected
    (home.folder / "manifest.json").unlink()
    history = History(home.settings.history)
    history.append(
        Entry(dataset="houses", kind="collected", release=home.release, actor="ben", reason="gc --keep 3")
    )
    history.close()
    trace = traced(home)
    found = checks(trace)
    assert trace.problems == ()
    assert {found[what].status for what in ("release", "judged model", "contract")} == {"collected"}
    assert found["release"].told.endswith("by ben: gc --keep 3")
    assert (
        found["snapshot"].status == "unchecked"
    )  # it is there, and the contract that tells its columns is not


def test_a_release_is_found_in_the_bento_that_holds_it(home: LivedIn) -> None:
    home.answered()
    baked = home.settings.bentos / "bentos" / "hedonic-houses" / "0123" / "src" / "baked_release"
    baked.mkdir(parents=True)
    home.folder.rename(baked / home.release)
    trace = traced(home)
    assert trace.answers[0].equal
    assert trace.releases[0].folder == str(baked / home.release)


def test_a_release_is_found_in_the_release_store(home: LivedIn, tmp_path: Path) -> None:
    home.answered()
    (tmp_path / "store" / "houses").mkdir(parents=True)
    home.folder.rename(tmp_path / "store" / "houses" / home.release)
    settings = home.settings.model_copy(update={"store_url": str(tmp_path / "store")})
    trace = trace_request(settings, LogSettings(home=settings.home), "r1")
    assert trace.answers[0].equal
    assert checks(trace)["release"].status == "verified"


def test_rows_that_were_forgotten_are_not_told_and_the_others_are_computed_again(home: LivedIn) -> None:
    home.answered({**home.row, "rooms": 1}, {**home.row, "rooms": 7})
    store = PredictionLogStore(home.log)
    forget_rows(store, "houses", {"rooms": 1})
    store.close()
    (answer,) = traced(home).answers
    assert [row.row for row in answer.rows] == [1]
    assert answer.equal


def test_an_answer_that_is_no_answer_is_a_problem(home: LivedIn) -> None:
    home.answered(response=b'{"predictions": []}')
    assert "what is logged is no answer" in traced(home).problems[0]


def test_a_tables_rows_are_traced_with_all_parts(home: LivedIn) -> None:
    release = load_release(home.folder)
    exchange = Exchange(request_id="table", path="/invocations", headers={}, started=0.0)
    log = PredictionLog.open(home.log)
    record = TableRecord(log, exchange, release)
    rows = [{**home.row, "rooms": n % 9} for n in range(250)]
    record.add([json.dumps(row) for row in rows], release.predictor.predict(rows))
    asyncio.run(record.write())
    log.close()
    (answer,) = traced(home, "table").answers
    assert (answer.route, answer.n_rows, answer.equal, len(answer.rows)) == ("/invocations", 250, True, 100)
    (part,) = traced(home, "table.200").answers
    assert (part.n_rows, part.rows[0].inputs) == (50, rows[200])


def challenged(home: LivedIn, mode: str) -> tuple[Trace, str, str]:
    """Return the trace of a request while another release is tried, the champion and the challenger."""
    store = home.settings.releases
    champion = load_release(tiny_release(store))
    challenger = load_release(tiny_release(store, constant_model(12.35)))
    plan = TrafficPlan.model_validate(
        {"mode": mode, "challenger": "/it", "release": challenger.model.release, "share": 1.0,
         "limits": TrafficLimits(max_errors=3, window=10, max_disagreement=0.25)}
    )  # fmt: skip
    file, log = PlanFile(home.settings.home, "tiny_town"), PredictionLog.open(home.log)
    file.write(plan)

    def load(_: TrafficPlan) -> Release:
        return challenger

    traffic = Traffic(load, lambda: champion, file, None, AsideLog(log))
    traffic.follow()
    answering = Answering(lambda: champion, log, traffic.challenge)
    exchange = Exchange(request_id="tried", path="/predict", headers={}, started=0.0)
    body = json.dumps({"instances": [ROW]}).encode()
    status, _ = asyncio.run(answering.answer(exchange, "application/json", body))
    assert status == 200
    tried = traffic.challenge()
    wait_for(lambda: tried is None or tried.n_challenger)  # a shadow answers in its own thread
    traffic.close()
    log.close()
    return traced(home, "tried"), champion.model.release, challenger.model.release


@pytest.mark.parametrize(
    ("mode", "served_by", "aside_by"),
    [("canary", "challenger", "champion"), ("ab", "challenger", None), ("shadow", "champion", "challenger")],
)
def test_the_release_that_really_answered_is_traced(
    home: LivedIn, mode: str, served_by: str, aside_by: str | None
) -> None:
    trace, champion, challenger = challenged(home, mode)
    named = {champion: "champion", challenger: "challenger"}
    told = {answer.role: named[answer.release] for answer in trace.answers}
    assert told == {"served": served_by, **({"shadow": aside_by} if aside_by else {})}
    assert all(answer.equal for answer in trace.answers)
    assert len(trace.releases) == len(trace.answers)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"log_retention_days": 30}, "answers are deleted after 30 days (HEDONIC_LOG_RETENTION_DAYS)"),
        ({"prediction_log_mode": "off"}, "answers are not logged now (HEDONIC_PREDICTION_LOG_MODE is off)"),
        ({}, "it was forgotten (hedonic forget) or purged"),
    ],
)
def test_an_unknown_request_says_where_it_may_have_gone(
    home: LivedIn, variables: dict[str, str], told: str
) -> None:
    home.answered()
    with pytest.raises(UserError, match="request r2: nothing of it is in the prediction log") as caught:
        traced(home, "r2", **variables)
    assert told in str(caught.value)


def test_a_home_that_never_logged_says_where_it_looked(home: LivedIn) -> None:
    with pytest.raises(UserError, match=r"prediction_log\.db: no prediction log here"):
        traced(home)
    assert not Path(home.log).exists()
