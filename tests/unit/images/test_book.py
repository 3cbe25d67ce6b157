"""The book of images."""

import pytest

from hedonic.images.book import ImageBook
from hedonic.images.engine import Image
from hedonic.settings import Settings


@pytest.fixture
def book(tmp_path):
    return ImageBook(Settings(root=tmp_path, home=tmp_path / "home"))


def image(name="hedonic-town:aa", content="sha256:1"):
    return Image(name, content, 400_000_000, {"hedonic.release": "f" * 64})


def test_what_was_built_is_read_again_with_its_bill(book):
    built = book.write(image(), '{"bomFormat": "CycloneDX"}')
    assert book.read("hedonic-town:aa") == built
    assert (built.release, built.pushed) == ("f" * 64, {})
    assert book.bill("hedonic-town:aa").read_text() == '{"bomFormat": "CycloneDX"}'
    assert book.read("hedonic-town:bb") is None


def test_all_are_listed_and_bills_are_none_of_them(book):
    for tag in ("aa", "bb"):
        book.write(image(f"hedonic-town:{tag}"), "{}")
    book.write(image("hedonic-worker:cc"), "{}")
    assert sorted(one.name for one in book.all()) == [
        "hedonic-town:aa",
        "hedonic-town:bb",
        "hedonic-worker:cc",
    ]


def test_where_it_was_pushed_stays_as_long_as_it_is_the_same_image(book):
    book.pushed(book.write(image(), "{}"), "ghcr.io/me/town:aa", "sha256:9")
    assert book.write(image(), "{}").pushed == {"ghcr.io/me/town:aa": "sha256:9"}
    assert book.write(image(content="sha256:2"), "{}").pushed == {}


def test_a_page_that_cannot_be_read_is_left_out(book):
    book.write(image(), "{}")
    book.bill("hedonic-town:aa").with_name("aa.json").write_text("{")
    assert book.all() == ()
