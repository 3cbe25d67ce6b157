"""Why an estimate is what it is: amounts that add up, and comparable sales that are earlier and nearest."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from hedonic.data.split import split_rows
from hedonic.data.table import columns_from_frame, day, take
from hedonic.errors import HedonicError
from hedonic.model.feature_groups import COMPARABLE_SALES, MARKET, OF_SURFACE, FeatureGroups
from hedonic.model.recipe import Recipe
from hedonic.model.scorers import ConstantScorer, Design, NetworkScorer
from hedonic.model.training import fit_candidate, fold_rows, make_fold
from hedonic.serving import explanation as module
from hedonic.serving.explanation import Explainer, explain
from hedonic.serving.predictor import load_release
from hedonic.serving.responses import explain_response
from tests.contracts import (
    DESCRIBED,
    HOUSE_COLUMNS,
    HOUSE_FEATURES,
    TREES,
    car_contract,
    car_frame,
    house_frame,
)
from tests.contracts import house_contract as plain_contract
from tests.tiny_release import ROW, constant_model, tiny_columns, tiny_model, tiny_release

GROUPS = {
    "area": "Size", "rooms": "Size", "lot": "Lot", "built": "Age", "renovated": "Age", "lake": "Location",
    "lat": "Location", "long": "Location", "quarter": "Location", "note": "Notes",
}  # fmt: skip
PARAMETERS = {
    "median": {},
    "ridge": {},
    "network": {"hidden_units": 8, "max_iter": 5},
    "forest": TREES,
    "boosting": TREES,
}
EXACT = [family for family in PARAMETERS if family != "network"]


def house_contract(**changes):
    columns = [
        {**DESCRIBED, **column, **({"group": GROUPS[column["name"]]} if column["name"] in GROUPS else {})}
        for column in HOUSE_COLUMNS
    ]
    return plain_contract(**{"columns": columns, **changes})


def undated_contract():
    columns = [{**DESCRIBED, **column} for column in HOUSE_COLUMNS if column.get("role") != "time"]
    features = {**HOUSE_FEATURES, "ages": [], "comparables": {"neighbours": [3], "averaged": ["log_area"]}}
    target = {"column": "price", "unit": "EUR", "scale": "identity"}
    return plain_contract(columns=columns, features=features, target=target, split={"method": "hash"})


SETS = {
    "houses": (house_contract, house_frame),
    "houses without sales": (
        lambda: house_contract(features={**HOUSE_FEATURES, "comparables": None}),
        house_frame,
    ),
    "undated houses in euros": (undated_contract, house_frame),
    "cars": (car_contract, car_frame),
}
fitted = {}


def model_of(dataset, family):
    """Return the family's model of the data set; made once."""
    if (dataset, family) not in fitted:
        contract, frame = SETS[dataset][0](), SETS[dataset][1]()
        columns, split = columns_from_frame(contract, frame), split_rows(contract, frame)
        n_clusters = 4 if contract.features.place else None
        recipe = Recipe(family=family, parameters=PARAMETERS[family], n_clusters=n_clusters, seed=1)
        train = take(columns, split.train)
        rows = fold_rows(contract, train, 1)[0]
        fold = make_fold(contract, train, *rows, n_clusters=n_clusters, seed=1)
        fitted[dataset, family] = fit_candidate(contract, columns, split, recipe, [fold]).model
    return fitted[dataset, family]


def rows_of(dataset, n=40):
    contract, frame = SETS[dataset][0](), SETS[dataset][1](40, seed=7)
    return take(columns_from_frame(contract, frame), np.arange(n))


def total(explained):
    return explained["base"] + sum(part["amount"] for part in explained["contributions"])


@pytest.fixture(scope="module")
def houses():
    return model_of("houses", "boosting")


# ---- contributions


@pytest.mark.parametrize("family", EXACT)
@pytest.mark.parametrize("dataset", SETS)
def test_the_base_and_all_amounts_add_up_to_the_served_estimate(dataset, family):
    model, rows = model_of(dataset, family), rows_of(dataset)
    explained = explain(model, rows)
    wanted = model.estimate(rows).estimate
    assert [row["estimate"] for row in explained] == wanted.tolist()
    for row in explained:
        assert row["exact"] is True
        assert total(row) == pytest.approx(row["estimate"], rel=1e-12)
        assert row["unit"] == "EUR"
        json.dumps(row, allow_nan=False)


@pytest.mark.parametrize("dataset", SETS)
def test_a_network_of_several_layers_says_that_it_has_no_exact_contributions(dataset):
    for row in explain(model_of(dataset, "network"), rows_of(dataset, 3)):
        assert (row["exact"], row["base"], row["contributions"]) == (False, None, [])
        assert module.NO_CONTRIBUTIONS in row["notes"]


def test_a_constant_contributes_nothing_but_the_level_of_the_market():
    model = replace(constant_model(12.0), level=0.1)
    (row,) = explain(model, tiny_columns(ROW))
    amounts = {part["group"]: part["amount"] for part in row["contributions"]}
    assert row["base"] == pytest.approx(math.exp(12))
    assert amounts.pop(MARKET) == pytest.approx(math.exp(12.1) - math.exp(12))
    assert set(amounts.values()) == {0.0}
    assert row["notes"][0] == module.ALIKE


def test_a_constant_without_a_level_is_its_base():
    (row,) = explain(constant_model(12.0), tiny_columns(ROW))
    assert row["estimate"] == row["base"] == total(row)


def test_amounts_of_a_linear_model_are_those_worked_by_hand():
    """Two bedrooms above the mean at 0.1 each, and a category 0.2 above the mean of the two."""
    design = Design(
        numbers=np.array([0, 1, 2, 3, 5, 6, 7]),
        fill=np.zeros(7),
        mean=np.array([1.0, 0, 0, 0, 0, 0, 0]),
        scale=np.ones(7),
        clip=1e9,
        categories=(4,),
        codes=(np.array([0.0, 1.0]),),
    )
    weights = np.array([[0.1], [0], [0], [0], [0], [0], [0], [0.7], [0.3]])
    model = replace(tiny_model(), point=NetworkScorer(design, (weights,), (np.array([11.5]),)), level=-0.05)
    (row,) = explain(model, tiny_columns({**ROW, "bedrooms": 3, "quarter": "Hill"}))
    base, estimate = math.exp(12.0), math.exp(12.0 + 0.2 + 0.2 - 0.05)
    mean = (estimate - base) / math.log(estimate / base)
    amounts = {part["group"]: part["amount"] for part in row["contributions"]}
    assert row["base"] == pytest.approx(base)
    assert amounts["bedrooms"] == pytest.approx(0.2 * mean)
    assert amounts["quarter"] == pytest.approx(0.2 * mean)
    assert amounts[MARKET] == pytest.approx(-0.05 * mean)
    assert amounts["area"] == pytest.approx(0.0, abs=1e-6)
    assert [part["amount"] for part in row["contributions"]] == sorted(amounts.values(), key=abs)[::-1]


@pytest.mark.parametrize("family", ["ridge", "forest", "boosting"])
def test_parts_of_a_scorer_add_up_to_its_estimate(family):
    model, rows = model_of("houses", family), rows_of("houses")
    matrix = model.features.apply(rows)
    parts = model.point.contributions(matrix)
    assert parts.shape == (40, matrix.shape[1] + 1)
    np.testing.assert_allclose(parts.sum(axis=1), model.point.predict(matrix), rtol=1e-12)


def test_an_amount_has_the_attributes_of_its_group_that_the_model_uses(houses):
    (row,) = explain(houses, rows_of("houses", 1))
    attributes = {part["group"]: part["attributes"] for part in row["contributions"]}
    assert attributes == {
        "Size": ["area", "rooms"],
        "Lot": ["lot"],
        "Age": ["built", "renovated"],
        "Location": ["lake", "quarter", "lat", "long"],
        COMPARABLE_SALES: [],
        MARKET: [],
    }


def test_a_batch_is_explained_as_its_rows_are_alone(houses):
    rows = rows_of("houses", 12)
    assert explain(houses, rows) == [explain(houses, take(rows, np.array([n])))[0] for n in range(12)]


def test_a_missing_valuation_date_is_the_last_day_of_training(houses):
    rows = rows_of("houses", 4)
    dated = {**rows, "sold": np.full(4, houses.valuation_date_default)}
    undated = {**rows, "sold": np.full(4, np.nan)}
    assert explain(houses, undated) == explain(houses, dated)


class Liar(ConstantScorer):
    """A scorer whose contributions are not quite those of its estimates."""

    __slots__ = ()
    by = 1e-3

    def contributions(self, matrix):
        return super().contributions(matrix) + self.by


class Rounder(Liar):
    """A scorer whose contributions are rounded, as those of many trees are."""

    __slots__ = ()
    by = 1e-9


def test_contributions_that_do_not_add_up_are_not_served():
    model = replace(tiny_model(), point=Liar(12.0))
    with pytest.raises(HedonicError, match="the contributions to .* miss it by .* and are not served"):
        explain(model, tiny_columns(ROW))


def test_what_rounding_leaves_is_given_to_the_largest_amount():
    (row,) = explain(replace(tiny_model(), point=Rounder(12.0)), tiny_columns(ROW))
    assert total(row) == pytest.approx(row["estimate"], rel=1e-14)


# ---- groups


@pytest.mark.parametrize("dataset", SETS)
def test_every_feature_is_divided_among_groups_that_there_are(dataset):
    features = model_of(dataset, "boosting").features
    groups = FeatureGroups(features)
    for name in features.names:
        found = groups.sources(name)
        assert set(found) <= set(groups.names)
        assert bool(found) == (name not in OF_SURFACE)


@pytest.mark.parametrize("dataset", SETS)
def test_whatever_the_contributions_their_division_keeps_their_sum(dataset):
    features, rows = model_of(dataset, "boosting").features, rows_of(dataset)
    matrix = features.apply(rows)
    parts = np.random.default_rng(0).normal(size=matrix.shape)
    divided = FeatureGroups(features).divide(parts, matrix, rows)
    np.testing.assert_allclose(divided.sum(axis=1), parts.sum(axis=1), rtol=1e-10, atol=1e-10)


def test_derived_features_belong_to_the_columns_they_come_from(houses):
    groups = FeatureGroups(houses.features)
    assert groups.sources("area") == ("Size",)
    assert groups.sources("log_lot") == ("Lot",)
    assert groups.sources("effective_age") == ("Age", "Age")
    assert groups.sources("rotated_30") == groups.sources("cluster_0") == ("Location", "Location")
    assert groups.sources("price_near") == groups.sources("area_of_3") == (COMPARABLE_SALES,)
    assert groups.sources("km_to_nearest") == (COMPARABLE_SALES,)


def test_the_price_surface_is_divided_as_its_own_sum_is(houses):
    """Where a tree follows the surface at half its rate, each term of the surface gets its half."""
    features = houses.features
    rows = {**rows_of("houses"), "sold": np.full(40, features.surface.origin_day + 400)}
    groups, matrix = FeatureGroups(features), features.apply(rows)
    terms = groups._terms(features.surface, rows)
    beside = matrix[:, features.names.index("surface")] - terms.sum(axis=1)
    np.testing.assert_allclose(beside, beside[0], rtol=1e-9)  # what is usual of every row
    np.testing.assert_allclose(terms[:, groups.names.index(MARKET)], 400 * features.surface.trend)
    parts = np.zeros_like(matrix)
    parts[:, features.names.index("surface")] = terms.sum(axis=1) / 2
    np.testing.assert_allclose(groups.divide(parts, matrix, rows), terms / 2, atol=1e-12)


def test_no_term_of_the_surface_gets_more_than_it_adds_nor_the_opposite(houses):
    features, rows = houses.features, rows_of("houses")
    groups, matrix = FeatureGroups(features), features.apply(rows)
    terms, market = groups._terms(features.surface, rows), groups.names.index(MARKET)
    for sign in (10, -1):
        parts = np.zeros_like(matrix)
        parts[:, features.names.index("surface")] = sign * terms.sum(axis=1)
        divided = groups.divide(parts, matrix, rows)
        others = np.delete(divided, market, axis=1)
        np.testing.assert_allclose(others, np.delete(terms, market, axis=1) if sign > 0 else 0.0, atol=1e-12)


# ---- comparable sales


def brute_force(model, row):
    """Return the positions of the sales before the row's date, nearest first."""
    sales, derivation = model.features.comparables, model.features.derivation
    km = np.hypot(*(sales.places - derivation.kilometres(row)[0]).T)
    allowed = np.ones(len(km), dtype=bool) if sales.days is None else sales.days < row["sold"][0]
    order = np.argsort(km, kind="stable")
    return order[allowed[order]], km


@pytest.mark.parametrize("dataset", ["houses", "undated houses in euros"])
def test_comparable_sales_are_the_nearest_of_all_that_are_earlier(dataset):
    model, rows = model_of(dataset, "ridge"), rows_of(dataset)
    sales = model.features.comparables
    for n, explained in enumerate(explain(model, rows)):
        row = take(rows, np.array([n]))
        if math.isnan(row["lat"][0]):
            assert (explained["comparable_sales"], explained["notes"]) == ([], [module.NO_EARLIER_SALES])
            continue
        positions, km = brute_force(model, row)
        wanted = positions[: min(5, sales.n_neighbours)]
        found = explained["comparable_sales"]
        assert [sale["distance_km"] for sale in found] == pytest.approx(km[wanted], abs=6e-4)
        if sales.days is None:
            assert {sale["sale_date"] for sale in found} == {None}
        else:
            assert [sale["sale_date"] for sale in found] == [day(sales.days[p]).isoformat() for p in wanted]
            assert all(sale["sale_date"] < day(row["sold"][0]).isoformat() for sale in found)


def test_a_comparable_sale_has_its_price_and_the_price_moved_by_the_surface(houses):
    rows, sales, surface = rows_of("houses"), houses.features.comparables, houses.features.surface
    derivation = houses.features.derivation
    here = surface.apply(derivation.apply(rows), derivation.kilometres(rows), rows["sold"])
    prices = columns_from_frame(house_contract(), house_frame())["price"]
    for n, explained in enumerate(explain(houses, rows)):
        nearest = sales.nearest(derivation.kilometres(rows)[[n]], rows["sold"][[n]], None).position[0]
        for sale, position in zip(explained["comparable_sales"], nearest, strict=False):
            assert np.isclose(prices, sale["sale_price"], rtol=1e-11).any()
            moved = math.exp(sales.price[position] + here[n] - sales.surface[position])
            assert sale["adjusted_price"] == pytest.approx(moved, rel=1e-11)
            assert set(sale["attributes"]) == {"area", "age"}


def test_the_row_s_own_sale_of_the_day_before_is_hardly_adjusted(houses):
    frame = house_frame()
    train = split_rows(house_contract(), frame).train
    columns = columns_from_frame(house_contract(), frame)
    placed = train[np.isfinite(columns["lat"][train])]
    own = take(columns, placed[:1])
    (row,) = explain(houses, {**own, "sold": own["sold"] + 1})
    sale = row["comparable_sales"][0]
    assert sale["distance_km"] == 0.0
    assert sale["sale_date"] == day(own["sold"][0]).isoformat()
    assert sale["sale_price"] == pytest.approx(own["price"][0], rel=1e-11)
    assert sale["adjusted_price"] == pytest.approx(own["price"][0], rel=2e-3)


def test_an_attribute_that_is_stored_as_a_logarithm_is_shown_as_the_number_itself():
    model, rows = model_of("undated houses in euros", "ridge"), rows_of("undated houses in euros")
    areas = columns_from_frame(undated_contract(), house_frame())["area"]
    seen = [sale["attributes"]["area"] for row in explain(model, rows) for sale in row["comparable_sales"]]
    assert None in seen  # the sale's area is not known
    assert all(np.isclose(areas, area, rtol=1e-11).any() for area in seen if area is not None)


@pytest.mark.parametrize("dataset", ["cars", "houses without sales"])
def test_a_model_that_keeps_no_sales_says_so(dataset):
    (row,) = explain(model_of(dataset, "boosting"), rows_of(dataset, 1))
    assert (row["comparable_sales"], row["notes"]) == ([], [module.NO_SALES])


def test_a_sale_whose_adjusted_price_is_no_number_is_not_served(houses):
    sales = houses.features.comparables
    broken = replace(sales, surface=np.full(len(sales.price), np.nan))
    features = replace(houses.features, comparables=broken)
    with pytest.raises(HedonicError, match="a number of an explanation is nan, and is not served"):
        Explainer(replace(houses, features=features))._comparable_sales(rows_of("houses", 1))


# ---- over HTTP


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return load_release(tiny_release(tmp_path_factory.mktemp("store")))


def test_a_request_is_answered_with_an_explanation_of_each_row(release):
    body = json.dumps({"instances": [ROW, {**ROW, "area": 900}]}).encode()
    status, answer = explain_response(release, "application/json", body, "the-id")
    content = json.loads(answer)
    assert (status, content["request_id"]) == (200, "the-id")
    assert content["model"] == release.model.facts
    predictions = release.predictor.answer(body)
    assert [row["estimate"] for row in content["explanations"]] == [row["estimate"] for row in predictions]
    for row in content["explanations"]:
        assert total(row) == pytest.approx(row["estimate"], rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("text/csv", b"{}", 415, "unsupported_media_type"),
        ("application/json", b'{"instances": [{}]}', 400, "invalid_request"),
        ("application/json", b"{", 400, "invalid_json"),
    ],
)
def test_a_request_that_is_not_what_the_contract_says_is_refused(release, kind, body, status, code):
    got, answer = explain_response(release, kind, body, "x")
    assert (got, json.loads(answer)["error"]["code"]) == (status, code)


def test_an_explanation_that_fails_is_an_opaque_500(release, caplog):
    broken = replace(release, explainer=Explainer(replace(tiny_model(), point=Liar(12.0))))
    status, answer = explain_response(broken, "", json.dumps({"instances": [ROW]}).encode(), "the-id")
    assert (status, json.loads(answer)["error"]["code"]) == (500, "internal_error")
    assert "are not served" in caplog.text
