import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from hedonic.data.contract import Contract, dump_contract, parse_contract
from hedonic.data.contract_file import load_contract
from hedonic.data.rules import RowRule
from hedonic.errors import ContractError, UserError
from tests.contracts import HOUSE_FEATURES, house_contract

ROOT = Path(__file__).resolve().parents[3]
DATASETS = ("king_county", "california")

SMALL = """\
format_version: 1
name: cars
title: Used cars
source: {uri: cars.csv}
target: {column: price, unit: EUR}
columns:
  - {name: price, type: number, role: target, description: Price}
  - {name: age, type: number, minimum: 0, maximum: 60, description: Age}
  - {name: make, type: category, categories: [a, b], description: Make}
search: {families: {median: {}}}
split: {method: random}
gate: {limits: [{metric: r2, minimum: 0.5}]}
"""


def written(folder: Path, text: str, name: str = "cars") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def changed(**changes: Any) -> str:
    return yaml.safe_dump({**yaml.safe_load(SMALL), **changes}, sort_keys=False)


def test_a_contract_is_read_into_values(tmp_path: Path) -> None:
    contract = load_contract(written(tmp_path, SMALL))
    assert contract.column("age").maximum == 60
    assert [column.name for column in contract.inputs] == ["age", "make"]
    assert (contract.id_column, contract.time_column, contract.target.scale) == (None, None, "log")
    assert contract.serve.port == 3000


def test_a_contract_cannot_be_changed(tmp_path: Path) -> None:
    contract = load_contract(written(tmp_path, SMALL))
    with pytest.raises(ValidationError, match="frozen"):
        contract.title = "Other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Used", "titel: Used", r":3: titel: unknown key; remove it or correct its spelling"),
        ("title: Used cars\n", "", r"cars.yaml:1: title: missing; add this key"),
        ("minimum: 0,", "minimum: 70,", r":8: columns.1: age: minimum 70 > maximum 60"),
        ("minimum: 0,", "minimum: low,", r":8: columns.1.minimum: .*\(got 'low'\)"),
        ("minimum: 0,", "minmum: 0,", r":8: columns.1.minmum: unknown key"),
        (
            "type: category, ",
            "type: text, ",
            r":9: columns.2: make: categories belong to type category, not text",
        ),
        (
            "maximum: 60, ",
            "maximum: 60, categories: [a], ",
            r":8: columns.1: age: categories belong to type category",
        ),
        ("type: category", "type: category, minimum: 1", r":9: .*minimum and maximum belong to numbers"),
        ("{method: random}", "{method: time}", r"split.method time needs a column with role: time"),
        ("{method: random}", "{method: hash}", r"split.method hash needs a column with role: id"),
        ("{method: random}", "{method: random, holdout: 1.5}", r":11: split.holdout: .*less than 1"),
        ("minimum: 0.5", "", r":12: gate.limits.0: limit on r2: give minimum, maximum or both"),
        ("column: price", "column: cost", r"target.column 'cost' must be the column with role: target"),
        ("{name: age,", "{name: price,", r"column 'price' is listed twice"),
        (
            "{name: age, type: number",
            "{name: age, type: number, role: target",
            r"role target is given to price, age",
        ),
        ("median: {}", "magic: {}", r":10: search.families.magic"),
    ],
)
def test_an_error_names_the_line_and_the_fix(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert SMALL.count(old) == 1
    with pytest.raises(ContractError, match=message) as refusal:
        load_contract(written(tmp_path, SMALL.replace(old, new)))
    assert refusal.value.exit_code == 2


def test_every_error_is_listed_at_once(tmp_path: Path) -> None:
    text = SMALL.replace("title", "titel").replace("minimum: 0,", "minimum: low,")
    with pytest.raises(ContractError, match="titel") as refusal:
        load_contract(written(tmp_path, text))
    assert len(str(refusal.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("pattern", "column"),
    [("age", "age"), ("a*", "age"), ("*_after", "assessed_value_after"), ("race*", "race_pct")],
)
def test_a_forbidden_feature_is_refused_with_its_reason(pattern: str, column: str, tmp_path: Path) -> None:
    text = SMALL.replace("name: age", f"name: {column}") + (
        f"forbidden: [{{pattern: '{pattern}', reason: known only after the sale}}]\n"
    )
    with pytest.raises(
        ContractError,
        match=rf"feature '{column}' is forbidden \(known only after the sale\): "
        "remove it or give it role: attribute",
    ):
        load_contract(written(tmp_path, text))


def test_a_forbidden_column_may_be_kept_as_an_attribute(tmp_path: Path) -> None:
    text = SMALL.replace("name: age, type", "name: age, role: attribute, type")
    contract = load_contract(written(tmp_path, text + "forbidden: [{pattern: age, reason: protected}]\n"))
    assert [column.name for column in contract.inputs] == ["make"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {"logs": ["weight"]}}, "features.logs weight: 'weight' is not a feature column"),
        ({"features": {"logs": ["price"]}}, "features.logs price: 'price' is not a feature column"),
        ({"features": {"columns": ["colour"]}}, "features.columns colour: 'colour' is not a feature column"),
        ({"features": {"comparables": {}}}, "features.comparables needs features.place"),
        ({"slices": [{"name": "by_colour", "column": "colour"}]}, "slice by_colour: no column 'colour'"),
        (
            {"rules": [{"name": "r", "rule": "age <= colour", "description": "d"}]},
            "rule r: no column 'colour'",
        ),
        (
            {"rules": [{"name": "r", "rule": "age ** 2 < 1", "description": "d"}]},
            r"rules.0.rule: rule 'age \*\* 2 < 1': 'age \*\* 2' is not a number",
        ),
        ({"refit": {"policy": "latest"}}, "refit.policy latest needs a column with role: time"),
        (
            {"search": {"families": {"ridge": {"alpha": {"low": 0, "high": 1, "log": True}}}}},
            "range 0..1 .* is empty",
        ),
    ],
)
def test_names_that_do_not_agree_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=message):
        load_contract(written(tmp_path, changed(**changes)))


def test_a_newer_format_is_refused_and_says_so(tmp_path: Path) -> None:
    text = SMALL.replace("format_version: 1", "format_version: 2") + "something_new: true\n"
    with pytest.raises(ContractError, match=r"format_version 2 is newer than 1.*Upgrade Hedonic"):
        load_contract(written(tmp_path, text))


def test_a_contract_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    written(tmp_path, SMALL)
    with pytest.raises(ContractError, match=r"boats.yaml: no such contract. Known data sets: cars\."):
        load_contract(tmp_path / "boats.yaml")


def test_broken_yaml_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)cars.yaml: not YAML: .*line 2"):
        load_contract(written(tmp_path, "name: cars\n  title: [\n"))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "cars\n"])
def test_what_is_not_a_mapping_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"cars.yaml:1: a contract is a mapping of keys; got"):
        load_contract(written(tmp_path, text))


def test_the_name_is_the_files_name(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"boats.yaml:2: name is 'cars' but the file is 'boats.yaml'"):
        load_contract(written(tmp_path, SMALL, name="boats"))


def test_a_contract_survives_its_canonical_form(tmp_path: Path) -> None:
    contract = load_contract(written(tmp_path, SMALL))
    again = parse_contract(dump_contract(contract))
    assert again == contract
    assert dump_contract(again) == dump_contract(contract)


def test_the_digest_is_about_the_meaning(tmp_path: Path) -> None:
    digest = load_contract(written(tmp_path, SMALL)).digest
    lines = SMALL.splitlines()
    reordered = "\n".join(["# a comment", lines[0], lines[2], lines[1], *lines[3:]]) + "\n"
    assert load_contract(written(tmp_path, reordered)).digest == digest
    assert load_contract(written(tmp_path, SMALL.replace("60", "61"))).digest != digest


def test_the_order_of_names_that_shapes_the_bits_counts_and_survives() -> None:
    first, other = (
        house_contract(features={**HOUSE_FEATURES, "comparables": {"neighbours": [3], "similar": similar}})
        for similar in ({"log_area": 0.3, "age": 20}, {"age": 20, "log_area": 0.3})
    )
    assert first.digest != other.digest
    for contract in (first, other):
        again = parse_contract(dump_contract(contract))
        assert again.digest == contract.digest
        assert again.features.comparables is not None
        assert contract.features.comparables is not None
        assert [*again.features.comparables.similar] == [*contract.features.comparables.similar]
    families = house_contract(search={"families": {"ridge": {}, "boosting": {}}})
    assert families.digest != house_contract(search={"families": {"boosting": {}, "ridge": {}}}).digest


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_example_row_of_an_embedded_contract_is_within_its_limits(dataset: str) -> None:
    contract = load_contract(ROOT / "expectations" / f"{dataset}.yaml")
    numbers: dict[str, Any] = {}
    for column in contract.columns:
        assert column.example is not None, column.name
        if column.categories is not None:
            assert column.example in column.categories
        if column.type in ("integer", "number", "boolean"):
            numbers[column.name] = [column.example]
            assert column.minimum is None or column.minimum <= column.example
            assert column.maximum is None or column.example <= column.maximum
    for rule in contract.rules:
        parsed = RowRule.parse(rule.rule)
        if parsed.columns <= set(numbers):
            assert parsed.holds({name: numbers[name] for name in parsed.columns}).all(), rule.name


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("column", ["assessed_value_after", "days_on_market", "race_share", "ethnic_group"])
def test_an_embedded_contract_refuses_what_no_model_may_see(
    dataset: str, column: str, tmp_path: Path
) -> None:
    content = yaml.safe_load((ROOT / "expectations" / f"{dataset}.yaml").read_text())
    content["columns"].append({"name": column, "type": "number", "description": "Not for models"})
    with pytest.raises(ContractError, match=f"feature '{column}' is forbidden"):
        load_contract(written(tmp_path, yaml.safe_dump(content), name=dataset))


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_input_of_an_embedded_contract_says_what_it_is(dataset: str) -> None:
    contract = load_contract(ROOT / "expectations" / f"{dataset}.yaml")
    for column in contract.inputs:
        assert column.description, column.name
        assert column.group, column.name
        bounded = column.minimum is not None and column.maximum is not None
        assert column.type in ("boolean", "category") or (bounded and column.unit), column.name


def test_reading_a_contract_imports_neither_pandas_nor_great_expectations() -> None:
    code = (
        "import sys, hedonic.data.contract, hedonic.data.rules\n"
        "print(sorted({'pandas', 'great_expectations', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_contract_is_one_type() -> None:
    assert Contract.model_config["frozen"]
    assert Contract.model_config["extra"] == "forbid"


def test_a_text_column_cannot_be_a_feature_of_the_model(tmp_path: Path) -> None:
    with_note = SMALL.replace("search:", "features: {columns: [note]}\nsearch:").replace(
        "  - {name: age,", "  - {name: note, type: text, description: x}\n  - {name: age,"
    )
    assert with_note != SMALL
    with pytest.raises(ContractError, match=r"features\.columns note: a text column cannot be a feature"):
        load_contract(written(tmp_path, with_note))
