"""Requests that arrive together are answered together, and nobody can tell."""

import asyncio
import json
from dataclasses import replace

import pytest

from hedonic.errors import HedonicError
from hedonic.serving.joint_answers import JOINT_ROWS, JointAnswers
from hedonic.serving.predictor import load_release
from hedonic.serving.responses import joint_predict_response, predict_response
from hedonic.serving.schema import RequestSchema
from tests.tiny_release import LAST_DAY, ROW, tiny_contract, tiny_release

SCHEMA = RequestSchema(tiny_contract(), LAST_DAY)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return load_release(tiny_release(tmp_path_factory.mktemp("store")))


def areas(*values):
    """Return rows that differ by their area."""
    return SCHEMA.check([{**ROW, "area": value} for value in values])


class Model:
    """Answers a row by its area; breaks on an area of 666, and keeps how many rows each call had."""

    def __init__(self):
        self.calls = []

    def answer(self, rows):
        self.calls.append(rows.n_rows)
        found = rows.columns["area"].tolist()
        if 666.0 in found:
            raise HedonicError("666 is not answered")
        return [{"area": area} for area in found]


def asked(model, *requests):
    """Return what each of the requests of one turn got."""
    joint = JointAnswers(model.answer)

    async def ask_all():
        return await asyncio.gather(*map(joint.answer, requests), return_exceptions=True)

    return asyncio.run(ask_all())


def test_each_request_gets_the_answers_of_its_own_rows_by_one_call():
    model = Model()
    got = asked(model, areas(300), areas(400, 500), areas(600))
    assert got == [[{"area": 300.0}], [{"area": 400.0}, {"area": 500.0}], [{"area": 600.0}]]
    assert model.calls == [4]


def test_a_request_that_breaks_the_model_breaks_no_other():
    first, broken, last = asked(Model(), areas(300), areas(666), areas(500))
    assert (first, last) == ([{"area": 300.0}], [{"area": 500.0}])
    assert isinstance(broken, HedonicError)


def test_more_rows_than_are_worth_joining_are_answered_in_turns():
    model, many = Model(), JOINT_ROWS - 1
    got = asked(model, areas(300), areas(*[400] * many), areas(500), areas(600))
    assert [len(answers) for answers in got] == [1, many, 1, 1]
    assert model.calls == [JOINT_ROWS, 2]


def test_who_is_gone_is_not_answered():
    model = Model()
    joint = JointAnswers(model.answer)

    async def ask_and_leave():
        gone = asyncio.create_task(joint.answer(areas(300)))
        stays = asyncio.create_task(joint.answer(areas(400)))
        await asyncio.sleep(0)
        gone.cancel()
        return await asyncio.gather(gone, stays, return_exceptions=True)

    gone, stays = asyncio.run(ask_and_leave())
    assert isinstance(gone, asyncio.CancelledError)
    assert stays == [{"area": 400.0}]
    assert model.calls == [1]


def test_together_the_bytes_are_those_of_alone(release):
    rows = [ROW, {**ROW, "area": 9000}, {**ROW, "bedrooms": 0}, {**ROW, "garden": None}]
    contents = [[row] for row in rows] + [rows, [], [{**ROW, "area": "900"}], rows[::-1]]
    bodies = [json.dumps({"instances": content}).encode() for content in contents]

    async def ask_all():
        waiting = [joint_predict_response(release, "application/json", body, "x") for body in bodies]
        return await asyncio.gather(*waiting)

    alone = [predict_response(release, "application/json", body, "x") for body in bodies]
    assert asyncio.run(ask_all()) == alone
    assert [status for status, _ in alone] == [200] * 5 + [400, 400, 200]


def test_an_error_of_ours_is_an_opaque_500_for_its_own_request(release, caplog):
    class Fragile(type(release.predictor)):
        def __init__(self, predictor):
            vars(self).update(vars(predictor))
            self._joint = JointAnswers(self._break)

        def _break(self, rows):
            if (rows.columns["area"] == 700).any():
                raise RuntimeError("secret")
            return self._answer(rows)

    fragile = replace(release, predictor=Fragile(release.predictor))

    async def ask_both():
        bodies = [json.dumps({"instances": [{**ROW, "area": area}]}).encode() for area in (600, 700)]
        waiting = [joint_predict_response(fragile, "application/json", body, "x") for body in bodies]
        return await asyncio.gather(*waiting)

    (good, _), (bad, told) = asyncio.run(ask_both())
    assert (good, bad) == (200, 500)
    assert b"secret" not in told
    assert "secret" in caplog.text
