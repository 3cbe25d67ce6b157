"""Licences: what is allowed, what is excepted with a reason, and what is neither."""

from __future__ import annotations

import pytest

from delivery.licences import POLICY, Excepted, Policy, find_problems, is_allowed, read_policy
from tests.pipeline.trees import make
from tests.project import ROOT

POLICY_OF_A_TEST = Policy(frozenset({"MIT", "Apache-2.0"}), {"rare": Excepted("AGPL-3.0", "never served")})


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0", False),
        ("UNKNOWN", False),
        ("GPL-3.0 OR MIT", True),
        ("GPL-3.0 AND MIT", False),
        ("MIT AND (GPL-3.0 OR Apache-2.0)", True),
        ("GPL-3.0 AND MIT OR Apache-2.0", True),
        ("(MIT OR GPL-3.0) AND (GPL-3.0)", False),
        ("MIT; Apache-2.0", True),
        ("MIT; GPL-3.0", False),
    ],
)
def test_a_licence_is_read_as_its_operators_say(licence, allowed):
    assert is_allowed(licence, POLICY_OF_A_TEST.allowed) is allowed


def problems(**installed):
    return list(find_problems(POLICY_OF_A_TEST, {"rare": "AGPL-3.0", **installed}))


def test_an_allowed_licence_and_an_exception_that_holds_are_no_problem():
    assert problems(common="MIT") == []


def test_a_licence_that_nobody_allowed_is_named():
    assert problems(new="GPL-3.0") == [
        "new: its licence 'GPL-3.0' is not allowed. Leave it out, or give it an exception with a reason in "
        "licences.toml."
    ]


def test_an_exception_that_no_longer_holds_is_named():
    assert "now says 'SSPL-1.0'" in problems(rare="SSPL-1.0")[0]
    assert "needs no exception" in problems(rare="MIT")[0] or "now says 'MIT'" in problems(rare="MIT")[0]
    assert list(find_problems(POLICY_OF_A_TEST, {"common": "MIT"})) == [
        "rare: excepted and not installed. Take it out of licences.toml."
    ]


def test_each_exception_of_ours_has_a_reason():
    policy = read_policy(POLICY)
    assert {"assesspy", "psycopg"} <= policy.exceptions.keys()
    assert all(len(entry.reason) > 10 for entry in policy.exceptions.values())


@pytest.mark.slow
def test_what_is_installed_here_is_allowed():
    done = make(ROOT, "licences")
    assert done.returncode == 0, done.stderr
    assert "no problems" in done.stdout
