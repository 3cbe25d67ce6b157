"""Release in, numbers out."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hedonic.errors import HedonicError, ReleaseRefused
from hedonic.model.manifest import GOLDEN, Golden, ReleaseRecord
from hedonic.promotion.release import write_record, write_release
from hedonic.serving.predictor import Predictor, confidence, load_release
from hedonic.serving.responses import predict_response
from tests.tiny_release import ROW, constant_model, tiny_columns, tiny_content, tiny_model, tiny_release

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return load_release(tiny_release(tmp_path_factory.mktemp("store")))


def test_a_prediction_has_the_model_s_numbers_and_the_agreed_shape(release):
    wanted = tiny_model().estimate(tiny_columns({**ROW, "valuation_date": "2015-03-06"}))
    (got,) = release.predictor.predict([ROW])
    assert got["estimate"] == wanted.estimate[0]
    assert got["interval_80"] == wanted.interval_80[0].tolist()
    assert got["interval_90"] == wanted.interval_90[0].tolist()
    assert got["unit"] == "USD"
    assert set(got) == {"estimate", "unit", "interval_80", "interval_90", "confidence", "warnings"}
    assert got["interval_90"][0] <= got["interval_80"][0] <= got["estimate"]


def test_a_batch_equals_its_single_rows_bit_for_bit(release):
    rows = [ROW, {**ROW, "area": 9000}, {**ROW, "bedrooms": 0}, {**ROW, "garden": None}]
    assert release.predictor.predict(rows) == [release.predictor.predict([row])[0] for row in rows]


def test_inputs_outside_what_training_saw_are_warned_of_by_name(release):
    row = {**ROW, "area": 9000, "valuation_date": "2020-01-01"}
    assert release.predictor.predict([ROW, row])[0]["warnings"] == []
    assert release.predictor.predict([row])[0]["warnings"] == [
        "area 9000 is outside what training saw (150 to 5000)",
        "valuation_date 2020-01-01 is outside what training saw (2013-10-22 to 2015-03-06)",
    ]


@pytest.mark.parametrize(
    ("low", "high", "grade", "reason"),
    [
        (90.0, 110.0, "A", "20% of the estimate wide; A is under 40%"),
        (75.0, 125.0, "B", "50% of the estimate wide; B is under 70%"),
        (60.0, 150.0, "C", "90% of the estimate wide; C is under 110%"),
        (20.0, 190.0, "D", "170% of the estimate wide; D is 110% or more"),
    ],
)
def test_confidence_follows_from_the_width_of_the_90_percent_interval(low, high, grade, reason):
    assert confidence(100.0, low, high) == {"grade": grade, "reason": f"the 90 % interval is {reason}"}


def test_an_estimate_that_is_not_positive_has_the_lowest_grade():
    assert confidence(0.0, -1.0, 1.0)["grade"] == "D"


class Broken:
    """A model whose answers are wrong in one way."""

    def __init__(self, **changes):
        self._model, self._changes = tiny_model(), changes
        self.contract, self.training_ranges = self._model.contract, self._model.training_ranges
        self.valuation_date_default = self._model.valuation_date_default

    def estimate(self, columns):
        return replace(self._model.estimate(columns), **self._changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"estimate": np.array([np.nan])},
        {"interval_80": np.array([[1.0, np.inf]])},
        {"interval_90": np.array([[np.nan, 2.0]])},
        {"interval_90": np.array([[0.0, 1.0]])},
        {"interval_80": np.array([[1e9, 2e9]])},
    ],
)
def test_a_number_that_is_not_finite_or_not_in_its_interval_is_never_served(changes):
    with pytest.raises(HedonicError, match="row 0: the model answered .* which is not served"):
        Predictor(Broken(**changes)).predict([ROW])


def test_an_error_of_ours_is_an_opaque_500_with_its_traceback_in_the_log(release, caplog):
    broken = replace(release, predictor=Predictor(Broken(estimate=np.array([np.nan]))))
    body = json.dumps({"instances": [ROW]}).encode()
    status, answer = predict_response(broken, "application/json", body, "the-id")
    assert status == 500
    assert json.loads(answer) == {
        "error": {
            "code": "internal_error",
            "message": "an error on our side; the log has it under this request id",
            "problems": [],
        },
        "request_id": "the-id",
    }
    assert "request the-id failed" in caplog.text
    assert "the model answered" in caplog.text


def test_every_json_value_in_a_row_is_answered_by_200_or_400(release):
    values = [None, True, 0, -1, 3.5, 1e308, 10**30, "", "Hill", "\ud800", "2015-01-01", [], {}, [[]]]
    for name in ROW:
        for value in values:
            body = json.dumps({"instances": [{**ROW, name: value}]}).encode()
            status, answer = predict_response(release, "application/json", body, "x")
            assert status in (200, 400), (name, value, answer)
            assert b"NaN" not in answer


def test_a_release_names_itself_by_its_version_where_its_record_has_one(tmp_path):
    folder = tiny_release(tmp_path)
    assert load_release(folder).model.version == folder.name[:16]
    record = ReleaseRecord(
        dataset="tiny_town",
        release=folder.name,
        created_by="a test",
        created_at="2026-01-01T00:00:00Z",
        version="3",
    )
    write_record(folder, record)
    loaded = load_release(folder)
    assert (loaded.model.name, loaded.model.version) == ("hedonic-tiny_town", "3")
    assert loaded.record == record


def test_a_release_whose_golden_rows_are_answered_otherwise_is_refused(tmp_path):
    content = tiny_content()
    answers = [dict(answer) for answer in content.golden.answers]
    answers[1]["estimate"] *= 1 + 1e-8
    folder = write_release(
        tmp_path, replace(content, golden=Golden(instances=content.golden.instances, answers=tuple(answers)))
    )
    with pytest.raises(ReleaseRefused, match=r"1 golden answers differ .* \[1\].estimate: got"):
        load_release(folder)


def test_golden_rows_may_differ_in_the_last_digits(tmp_path):
    content = tiny_content()
    answers = [dict(answer) for answer in content.golden.answers]
    answers[1]["estimate"] *= 1 + 1e-12
    folder = write_release(
        tmp_path, replace(content, golden=Golden(instances=content.golden.instances, answers=tuple(answers)))
    )
    assert load_release(folder).model.release == folder.name


def test_a_release_that_cannot_answer_its_golden_rows_is_refused(tmp_path):
    content = replace(tiny_content(), model=constant_model(1e6))
    folder = write_release(tmp_path, content)
    with pytest.raises(ReleaseRefused, match="a golden row is not answered"), np.errstate(over="ignore"):
        load_release(folder)


def test_a_changed_byte_is_refused_before_anything_is_answered(tmp_path):
    folder = tiny_release(tmp_path)
    (folder / GOLDEN).write_text((folder / GOLDEN).read_text().replace("Hill", "Mill"))
    with pytest.raises(ReleaseRefused, match=r"golden.json: changed"):
        load_release(folder)


def test_what_serves_imports_neither_pandas_nor_scikit_learn():
    code = "import bentos.valuation, json, sys; print(json.dumps([m.partition('.')[0] for m in sys.modules]))"
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"numpy", "bentoml"} <= loaded
    assert not loaded & {
        "pandas", "sklearn", "mlflow", "optuna", "great_expectations", "prefect", "sqlalchemy", "lightgbm",
        "pyarrow", "mapie", "assesspy", "matplotlib",
    }  # fmt: skip
