"""JSON in which a field is given twice is refused, wherever that is and whatever the texts hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedonic.serving.problems import RequestRefused
from hedonic.serving.unique_json import parse, quick_instances

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


ROWS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=3)
EXACT = 2**53


def plain(value):
    """Return the value with integers beyond those that every float holds as floats."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return float(value) if type(value) is int and abs(value) > EXACT else value


@given(ROWS, st.booleans())
def test_what_is_read_quickly_is_what_is_read_slowly(rows, ascii_alone):
    body = json.dumps({"instances": rows}, ensure_ascii=ascii_alone).encode(errors="surrogatepass")
    quick = quick_instances(body)
    assert quick is None or plain(quick) == plain(parse(body)["instances"])


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**300), 10**300))
def test_a_number_is_read_to_the_same_bits_quickly(number):
    body = json.dumps({"instances": [{"a": number}]}).encode()
    ((read,),) = [row.values() for row in quick_instances(body)]
    assert float(read).hex() == float(parse(body)["instances"][0]["a"]).hex()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[1]", b'{"instances": []}', b'{"instances": [1]}', b'{"instances": [{"a": NaN}]}',
        b'{"instances": [{"a": -Infinity}]}', b'{"instances": [{"a": 1, "a": 1}]}',
        b'{"instances": [{}], "b": 1}',
        b'{"instances": [{"a": 1}], "instances": [{"a": 1}]}', b'{"instances": [{"a": {"b": 1}}]}',
        b'{"instances": [{"a": "\\ud800"}]}', '{"instances": [{"a": 1}]}'.encode("utf-16"),
        b'{"instances": [{"a": ' + b"9" * 5000 + b"}]}", b'{"instances": [{"a": 1e999}]}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_needs_looking_into_is_left_to_the_slow_reader(body):
    assert quick_instances(body) is None
