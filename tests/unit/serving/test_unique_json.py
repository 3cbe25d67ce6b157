"""JSON in which a field is given twice is refused, wherever that is and whatever the texts hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedonic.serving.problems import RequestRefused
from hedonic.serving.unique_json import parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=3) | VALUES, st.booleans())
def test_what_holds_no_field_twice_is_read_as_json_is(instances, spaced):
    separators = (" , ", " : ") if spaced else (",", ":")
    body = json.dumps({"instances": instances}, separators=separators).encode()
    assert parse(body) == {"instances": instances}
    assert parse(json.dumps(instances).encode("utf-16")) == instances


@given(st.text(), st.lists(st.dictionaries(st.text(), st.integers(), max_size=3), max_size=2))
def test_a_field_given_twice_in_a_row_is_refused(name, others):
    key = json.dumps(name)
    rows = [*(json.dumps(row) for row in others), f'{{{key}: 1, "other:": "a:b", {key}: 2}}']
    with pytest.raises(RequestRefused, match="twice in one object"):
        parse(f'{{"instances": [{", ".join(rows)}]}}'.encode())


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [], "instances": []}',
        b'{"instances": [{"a": 1}], "instances": [{"a": 1}]}',
        b'{"instances": [{"a": {"b": 1, "b": 1}}]}',
        b'{"instances": [{}], "x": {"b": 1, "b": 1}}',
        b'{"a": 1, "a": 1}',
        b'[{"a": 1, "a": 1}]',
    ],
)
def test_a_field_given_twice_anywhere_is_refused(body):
    with pytest.raises(RequestRefused, match="twice in one object"):
        parse(body)
