"""King County's and California's contracts: campaigns in process, and what they document."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from hedonic.data.contract_file import load_contract
from hedonic.data.training_data import TrainingData
from hedonic.promotion.making import golden_instances
from hedonic.serving.explanation import Explainer
from hedonic.serving.predictor import Predictor
from hedonic.serving.problems import RequestRefused
from hedonic.serving.schema import RequestSchema
from tests.drills import DrillTable, count
from tests.instances import bodies, documented, every_wrong_value, wrong_bodies
from tests.project import ROOT
from tests.small_release import DATA_SETS, FAMILIES, small_data, small_model

pytestmark = [pytest.mark.slow, pytest.mark.drill]

EXAMPLES = count(few=150, promised=10_000)


@pytest.fixture(scope="module")
def data_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TrainingData]:
    """Return what gives some of a data set's rows as training data."""
    return functools.cache(lambda name: small_data(name, tmp_path_factory.mktemp(name)))


def campaign() -> settings:
    """Return the settings of a drill by hypothesis: as many examples, the same ones each time."""
    return settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dataset", DATA_SETS)
def test_every_row_that_a_real_contract_takes_gets_finite_numbers_in_order(
    data_of: Callable[[str], TrainingData], dataset: str, family: str, drill_table: DrillTable
) -> None:
    data = data_of(dataset)
    predictor, bases = Predictor(small_model(data, family)), golden_instances(data)
    asked, n_rows = 0, 0

    @campaign()
    @given(rows=bodies(data.contract, bases))
    def ask(rows: list[dict[str, Any]]) -> None:
        nonlocal asked, n_rows
        asked, n_rows = asked + 1, n_rows + len(rows)
        predictions = predictor.answer(json.dumps({"instances": rows}).encode())
        assert len(predictions) == len(rows)
        for prediction in predictions:
            (low_80, high_80), (low_90, high_90) = prediction["interval_80"], prediction["interval_90"]
            assert low_90 <= low_80 <= prediction["estimate"] <= high_80 <= high_90
            assert math.isfinite(low_90)
            assert math.isfinite(high_90)

    started = time.monotonic()
    ask()
    assert asked >= EXAMPLES
    told = f"{n_rows:,} rows: all finite and inside their intervals ({time.monotonic() - started:.0f} s)"
    drill_table.add(f"valid requests of {dataset}, {family}, in process", asked, told)


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_one_wrong_field_of_a_real_contract_is_named_and_nothing_else_is(
    data_of: Callable[[str], TrainingData], dataset: str, drill_table: DrillTable
) -> None:
    data, asked = data_of(dataset), 0
    schema = RequestSchema(data.contract, 16_500.0)

    @campaign()
    @given(wrong=wrong_bodies(data.contract, golden_instances(data)))
    def ask(wrong: Any) -> None:
        nonlocal asked
        asked += 1
        with pytest.raises(RequestRefused, match=r"the request has 1 problem|twice in one object") as refusal:
            schema.read(wrong.body)
        assert [problem.path for problem in refusal.value.problems] == [wrong.path]

    started = time.monotonic()
    ask()
    assert asked >= EXAMPLES
    told = f"each refused with exactly the path of its field ({time.monotonic() - started:.0f} s)"
    drill_table.add(f"requests of {dataset} wrong in one field, in process", asked, told)


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_no_field_of_a_real_contract_takes_a_value_of_another_type(dataset: str) -> None:
    contract = load_contract(ROOT / "expectations" / f"{dataset}.yaml")
    schema = RequestSchema(contract, 16_500.0)
    asked = 0
    for wrong in every_wrong_value(contract, schema.example()):
        with pytest.raises(RequestRefused, match="the request has 1 problem") as refusal:
            schema.read(wrong.body)
        assert [problem.path for problem in refusal.value.problems] == [wrong.path], wrong
        asked += 1
    assert asked > 10 * len(contract.inputs)


@pytest.mark.parametrize("dataset", DATA_SETS)
def test_the_example_that_a_real_contract_documents_is_priced_and_explained(
    data_of: Callable[[str], TrainingData], dataset: str
) -> None:
    model = small_model(data_of(dataset))
    predictor = Predictor(model)
    example = documented(predictor)
    assert set(example) == {column.name for column in predictor.contract.inputs if not column.nullable}
    (prediction,) = predictor.predict([example])
    assert prediction["warnings"] == []
    (explanation,) = Explainer(model).explain(predictor.schema.check([example]).columns)
    amounts = [part["amount"] for part in explanation["contributions"]]
    assert explanation["base"] + sum(amounts) == pytest.approx(prediction["estimate"])
