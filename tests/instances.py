"""Instances that a contract takes, and such that are wrong in one field alone, as hypothesis draws them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from hypothesis import strategies as st

from hedonic.data.contract import Column, Contract
from hedonic.serving.predictor import Predictor
from hedonic.serving.problems import RequestRefused
from hedonic.serving.schema import VALUATION_DATE, RequestSchema

Instance = dict[str, Any]
Strategy = st.SearchStrategy[Any]

DATES = st.dates(date(1900, 1, 1), date(2100, 12, 31)).map(date.isoformat)
NO_NUMBERS = (
    '"2000"', '"3"', '""', '"abc"', "true", "false", "[]", "[1]", "{}", '{"a": 1}', "NaN", "Infinity",
    "-Infinity", "1e999", "-1e999", str(10**400), '"\\u0000"', '"\\uff11\\uff12"', '"NaN"', "[[[[[[1]]]]]]",
)  # fmt: skip
NO_DATES = (
    '"2015-02-30"', '"2015-5-27"', '"2015-05-27T00:00:00"', '"20150527"', '"27.05.2015"', "20150527", "true",
    '"\\u0662\\u0660\\u0661\\u0665-\\u0660\\u0665-\\u0662\\u0667"', '"2015-05-27\\u0000"', '"2015-05-27\\n"',
    '"0000-01-01"', '"2015-W22-3"', '"today"', '""', "[]", "{}", "NaN", "1e999",
)  # fmt: skip
NO_TEXTS = ("1", "1.5", "true", "[]", '["Hill"]', "{}", "NaN", "1e999", "-0")
NO_BOOLEANS = ("0", "1", "1.0", "-0.0", '"true"', '"false"', '""', "[]", "{}", "NaN", "2")


@dataclass(frozen=True)
class WrongBody:
    """A body that is wrong in one place, and the path of that place."""

    body: bytes
    path: str


def nested(depth: int) -> str:
    """Return a list in a list in a list."""
    return "[" * depth + "]" * depth


def never(column: Column) -> tuple[str, ...]:
    """Return JSON texts that no column of this type takes, whatever its bounds."""
    match column.type:
        case "integer":
            return (*NO_NUMBERS, "1.5", "1e-300", "-0.5", "4503599627370495.5")
        case "number":
            return NO_NUMBERS
        case "boolean":
            return NO_BOOLEANS
        case "date":
            return NO_DATES
        case _:
            return NO_TEXTS


def taken(column: Column) -> Strategy:
    """Return JSON values that a column takes, as its description says."""
    match column.type:
        case "integer":
            low = -1000 if column.minimum is None else int(column.minimum)
            high = 100_000 if column.maximum is None else int(column.maximum)
            whole = st.integers(low, high)
            values: Strategy = whole | whole.map(float)  # 3.0 is the integer 3: see NumberField
        case "number":
            values = st.floats(column.minimum, column.maximum, allow_nan=False, allow_infinity=False)
        case "boolean":
            values = st.booleans()
        case "date":
            values = DATES
        case _:
            values = st.text(max_size=20) if column.categories is None else st.sampled_from(column.categories)
            if column.categories is not None:
                values = values | values.map(str.upper) | values.map(str.lower)
    return st.none() | values if column.nullable else values


def refused(column: Column) -> Strategy:
    """Return JSON texts that a column must refuse."""
    wrong: list[Strategy] = [] if column.nullable else [st.just("null")]
    wrong += [st.sampled_from(never(column)), st.integers(2, 900).map(nested)]
    match column.type:
        case "integer" | "number":
            if column.minimum is not None:
                wrong.append(st.integers(1, 10**6).map(lambda less: repr(column.minimum - less)))
            if column.maximum is not None:
                wrong.append(st.integers(1, 10**6).map(lambda more: repr(column.maximum + more)))
            if column.type == "integer":
                wrong.append(
                    st.floats(-1e6, 1e6).filter(lambda value: not value.is_integer()).map(json.dumps)
                )
        case "boolean":
            pass
        case "date":
            wrong.append(st.text(max_size=12).filter(_is_no_date).map(json.dumps))
        case _:
            if column.categories is not None:
                known = {category.casefold() for category in column.categories}
                near = st.sampled_from(column.categories).flatmap(
                    lambda text: st.sampled_from([f" {text}", f"{text} ", f"{text}\x00", text[:-1], text * 2])
                )
                texts = (near | st.text(max_size=10)).filter(lambda text: text.casefold() not in known)
                wrong.append(texts.map(json.dumps))
    return st.one_of(wrong)


def _is_no_date(text: str) -> bool:
    return len(text) != len("2015-05-27") or not text.isascii()


def fields(contract: Contract) -> list[Column]:
    """Return what a request may hold, the valuation date as a column of dates that may be missing."""
    extra = {"name": VALUATION_DATE, "type": "date", "nullable": True, "description": "-"}
    dated = [Column.model_validate(extra)] if contract.time_column is not None else []
    return [*contract.inputs, *dated]


def instances(contract: Contract, bases: Sequence[Instance]) -> Strategy:
    """Return instances that the contract takes: some of a known one's values replaced, rules kept."""
    schema = RequestSchema(contract, 16_500.0)
    columns = fields(contract)

    @st.composite
    def draw_instance(draw: Any) -> Instance:
        instance = dict(draw(st.sampled_from(bases)))
        for column in draw(st.lists(st.sampled_from(columns), unique_by=lambda c: c.name)):
            changed = {**instance, column.name: draw(taken(column))}
            if _is_kept(schema, changed):
                instance = changed
        if draw(st.booleans()):
            instance = {name: instance[name] for name in draw(st.permutations(list(instance)))}
        return instance

    return draw_instance()


def _is_kept(schema: RequestSchema, instance: Instance) -> bool:
    """Return whether no rule across fields is broken; what else is refused is left for a test to find."""
    try:
        schema.check([instance])
    except RequestRefused as refusal:
        return any("(rule " not in problem.message for problem in refusal.problems)
    return True


def bodies(contract: Contract, bases: Sequence[Instance]) -> Strategy:
    """Return lists of instances that the contract takes, as many as a request may hold."""
    return st.lists(instances(contract, bases), min_size=1, max_size=min(5, contract.serve.max_rows))


def wrong_bodies(contract: Contract, bases: Sequence[Instance]) -> Strategy:
    """Return bodies in which one field of one instance is wrong, each with the path of that field."""
    columns = fields(contract)
    names = {column.name for column in columns}
    unknown = st.text(max_size=80).filter(lambda name: name not in names) | st.sampled_from(
        [name.upper() for name in sorted(names) if name.upper() not in names]
    )

    @st.composite
    def draw_wrong(draw: Any) -> WrongBody:
        rows = draw(bodies(contract, bases))
        at = draw(st.integers(0, len(rows) - 1))
        members = [(json.dumps(name), json.dumps(value)) for name, value in rows[at].items()]
        column = draw(st.sampled_from(columns))
        what = draw(st.sampled_from(["value"] * 12 + ["missing", "unknown", "twice"]))
        key, name = json.dumps(column.name), column.name
        if what == "missing" and not column.nullable:
            members = [member for member in members if member[0] != key]
        elif what == "unknown":
            name = draw(unknown)
            members.insert(draw(st.integers(0, len(members))), (json.dumps(name), draw(st.just("1"))))
        elif what == "twice":
            name = draw(st.sampled_from(sorted(rows[at])))
            again = (json.dumps(name), json.dumps(rows[at][name]))
            members.insert(draw(st.integers(0, len(members))), again)
        else:
            members = [member for member in members if member[0] != key]
            members.insert(draw(st.integers(0, len(members))), (key, draw(refused(column))))
        texts = [json.dumps(row) for row in rows]
        texts[at] = "{" + ", ".join(f"{key}: {value}" for key, value in members) + "}"
        shown = name if len(name) <= 64 else name[:61] + "…"
        body = f'{{"instances": [{", ".join(texts)}]}}'.encode()
        return WrongBody(body, f"instances[{at}].{shown}")

    return draw_wrong()


def every_wrong_value(contract: Contract, instance: Instance) -> Iterator[WrongBody]:
    """Yield bodies of one instance, for every field every text that its type never takes."""
    for column in fields(contract):
        others = {name: value for name, value in instance.items() if name != column.name}
        for text in (*never(column), *(() if column.nullable else ("null",))):
            members = f"{json.dumps(others)[:-1]}, {json.dumps(column.name)}: {text}}}"
            yield WrongBody(f'{{"instances": [{members}]}}'.encode(), f"instances[0].{column.name}")


def documented(predictor: Predictor) -> Instance:
    """Return the instance that the documentation of a predictor's contract shows."""
    shown: Instance = predictor.schema.json_schema()["example"]["instances"][0]
    return shown
