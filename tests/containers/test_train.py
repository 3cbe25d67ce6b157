"""One train run ends with the running container replaced by the new release."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flows.train import train
from hedonic.data.contract_file import load_contract
from hedonic.images.engine import Engine
from hedonic.port_switch import read_target, target_path
from hedonic.roll_out import forget_containers
from hedonic.serving.golden import verify_served
from hedonic.settings import Settings
from tests.containers.conftest import docker
from tests.flows.conftest import project
from tests.flows.test_canary import callers
from tests.project import write_contract

__all__ = ["project"]

pytestmark = [pytest.mark.container, pytest.mark.slow]

DATASET = "small_county"


@pytest.fixture(scope="module")
def rolled_out(engine: Engine, project: Settings) -> Iterator[Settings]:
    """The project, whose champions are rolled out as containers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEDONIC_ROLL_OUT", "container")
        yield project
        forget_containers(project)


def test_a_train_run_replaces_the_running_container_and_no_request_fails(
    engine: Engine, rolled_out: Settings
) -> None:
    contract = rolled_out.expectations / f"{DATASET}.yaml"
    port = load_contract(contract).serve.port
    write_contract(rolled_out.root, serve={"port": port}, features={"comparables": None})
    first = train(dataset=DATASET, families=("ridge",), reason="first")
    assert first.outcome == "promoted"
    before = read_target(target_path(rolled_out, DATASET))
    assert before is not None
    assert engine.container(before.container).is_running

    write_contract(rolled_out.root, serve={"port": port})
    with callers(rolled_out) as answers:
        second = train(dataset=DATASET, families=("ridge",), reason="better")
    assert second.outcome == "promoted"
    assert {status for status, _ in answers} == {200}
    assert (answers[0][1], answers[-1][1]) == (first.release, second.release)
    after = read_target(target_path(rolled_out, DATASET))
    assert engine.container(before.container) is None
    assert engine.container(after.container).is_running
    assert after.image == second.bento
    label = docker("inspect", "--format", '{{index .Config.Labels "hedonic.release"}}', after.container)
    assert label == second.release
    verify_served(second.endpoint, rolled_out.releases / DATASET / second.release)
