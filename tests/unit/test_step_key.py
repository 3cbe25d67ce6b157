"""A key says what a result was made of, and names what differs from an earlier one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hedonic.settings import Settings
from hedonic.step_key import StepBook, StepKey, StepRecord

LOCK = "numpy==2.4.0 \\\n    --hash=sha256:aa\npandas==3.0.1 \\\n    --hash=sha256:bb\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name, text in {
        "tasks/__init__.py": "",
        "tasks/tune.py": "from tasks import page, search\n",
        "tasks/search.py": "SIZE = 4\n",
        "tasks/page.py": "from tasks import plot\n",
        "tasks/plot.py": "COLOUR = 'red'\n",
        "requirements.txt": LOCK,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Settings(root=tmp_path, home=tmp_path / "home")


def key(settings: Settings, **inputs: object) -> StepKey:
    given = {"budget": {"trials": 3}, "seed": 0} | inputs
    return StepKey.make(settings.root, "tune", "houses", "tasks/tune.py", given, ["tasks/page.py"])


def record(found: StepKey, at: str = "2026-01-01", output: object = 1) -> StepRecord:
    return StepRecord(key=found, arguments=dict(found.inputs), output=output, seconds=1.0, at=at)


def test_the_same_inputs_code_and_lock_have_one_key(settings: Settings) -> None:
    before = key(settings)
    assert key(settings).digest == before.digest
    assert key(settings).differences(before) == ()


def test_comments_and_sources_that_only_show_things_do_not_count(settings: Settings) -> None:
    before = key(settings)
    (settings.root / "tasks" / "search.py").write_text("# four\n\nSIZE = 4\n")
    (settings.root / "tasks" / "page.py").write_text("from tasks import plot\n\nWIDTH = 7\n")
    (settings.root / "tasks" / "plot.py").write_text("COLOUR = 'blue'\n")
    assert key(settings).digest == before.digest


def test_each_difference_is_named(settings: Settings) -> None:
    before = key(settings, gone=1, deep={"a": {"b": "x"}})
    (settings.root / "tasks" / "search.py").write_text("SIZE = 5\n")
    (settings.root / "requirements.txt").write_text(LOCK.replace("2.4.0", "2.5.0"))
    after = key(settings, budget={"trials": 5}, deep={"a": {"b": "y" * 80}}, new=2)
    assert after.digest != before.digest
    assert after.differences(before) == (
        "budget.trials: 3 -> 5",
        "deep.a.b changed",
        "gone is gone",
        "new is new",
        "code: tasks/search.py changed",
        "lock: numpy: 2.4.0 -> 2.5.0",
    )


def test_other_hashes_of_the_same_versions_are_a_difference(settings: Settings) -> None:
    before = key(settings)
    (settings.root / "requirements.txt").write_text(LOCK.replace("sha256:aa", "sha256:cc"))
    assert key(settings).differences(before) == ("lock: hashes of the same versions",)


def test_a_digest_is_told_by_its_first_digits(settings: Settings) -> None:
    before, after = key(settings, snapshot="a" * 64), key(settings, snapshot="b" * 64)
    assert after.differences(before) == ("snapshot: aaaaaaaaaaaa -> bbbbbbbbbbbb",)


def test_the_last_record_of_each_key_is_kept_and_found_again(settings: Settings) -> None:
    book, found = StepBook(settings), key(settings)
    assert book.read(found) is None
    assert book.latest("houses", "tune") is None
    book.write(record(found, output=1))
    book.write(record(found, output=2))
    kept = book.read(found)
    assert kept is not None
    assert kept.output == 2
    assert book.latest("houses", "tune") == kept
    assert book.latest("cars", "tune") is None


def test_the_nearest_record_is_the_one_that_differs_least(settings: Settings) -> None:
    book = StepBook(settings)
    near, far = key(settings, seed=1), key(settings, seed=1, budget={"trials": 9})
    for number, found in enumerate((near, far)):
        book.write(record(found))
        path = settings.home / "steps" / "houses" / "tune" / f"{found.digest}.json"
        os.utime(path, (1_000 + number, 1_000 + number))
    latest, nearest = book.latest("houses", "tune"), book.nearest(key(settings, seed=2))
    assert latest is not None
    assert nearest is not None
    assert (latest.key, nearest.key) == (far, near)


def test_a_record_that_cannot_be_read_is_passed_over(settings: Settings) -> None:
    book, found = StepBook(settings), key(settings)
    book.write(record(found))
    (settings.home / "steps" / "houses" / "tune" / f"{'0' * 64}.json").write_text('{"half":')
    assert book.latest("houses", "tune") is not None


def test_a_record_that_cannot_be_written_is_logged_and_fails_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.home.write_text("a file where the folder should be")
    StepBook(settings).write(record(key(settings)))
    assert "what tune was made of cannot be kept" in caplog.text
