"""The work pool: made with our template, mended where a worker made it first, and of the kind that is set."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from hedonic.deployments.work_pool import JOB_TEMPLATE, job_template, make_work_pool
from hedonic.errors import UserError
from hedonic.settings import JobSettings, Settings
from tests.project import ROOT


class Server:
    """Prefect's server, as far as it holds a work pool."""

    def __init__(self, kind=None, template=None):
        self.pool = kind and SimpleNamespace(type=kind, base_job_template=template)
        self.changes = 0

    def read_work_pool(self, name):
        assert name == "hedonic"
        if self.pool is None:
            raise ObjectNotFound(http_exc=LookupError(name))
        return self.pool

    def create_work_pool(self, pool):
        self.pool, self.changes = pool, self.changes + 1

    def update_work_pool(self, name, change):
        self.pool.base_job_template = change.base_job_template
        self.changes += 1


def settings(tmp_path, **changes):
    return Settings(home=tmp_path, root=ROOT, **changes)


@pytest.mark.parametrize("kind", ["process", "kubernetes"])
def test_a_pool_that_is_not_there_is_made_with_our_template_once(tmp_path, kind):
    server, chosen = Server(), settings(tmp_path, work_pool=kind)
    make_work_pool(server, chosen)
    make_work_pool(server, chosen)
    assert (server.pool.type, server.changes) == (kind, 1)
    assert server.pool.base_job_template == job_template(chosen)


@pytest.mark.parametrize("kind", ["process", "kubernetes"])
def test_the_template_of_a_pool_that_a_worker_made_first_becomes_ours(tmp_path, kind):
    server, chosen = (
        Server(kind, {"variables": {}, "job_configuration": {}}),
        settings(tmp_path, work_pool=kind),
    )
    make_work_pool(server, chosen)
    assert (server.pool.base_job_template, server.changes) == (job_template(chosen), 1)


def test_a_pool_of_another_kind_is_left_and_told(tmp_path):
    server = Server("process", ProcessWorker.get_default_base_job_template())
    with pytest.raises(UserError, match="is of type process, and HEDONIC_WORK_POOL is kubernetes"):
        make_work_pool(server, settings(tmp_path, work_pool="kubernetes"))
    assert server.changes == 0


def test_a_job_runs_the_image_that_is_set_in_the_namespace_that_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HEDONIC_WORK_POOL", "kubernetes")
    monkeypatch.setenv("HEDONIC_JOB__IMAGE", "ghcr.io/us/hedonic-worker@sha256:12")
    monkeypatch.setenv("HEDONIC_JOB__NAMESPACE", "prices")
    server = Server()
    make_work_pool(server, settings(tmp_path))
    told = server.pool.base_job_template["variables"]["properties"]
    assert told["image"]["default"] == "ghcr.io/us/hedonic-worker@sha256:12"
    assert told["namespace"]["default"] == "prices"


def test_an_image_without_a_name_is_refused():
    with pytest.raises(ValueError, match="image"):
        JobSettings(image="")


def test_a_project_without_a_template_of_a_job_says_so(tmp_path):
    chosen = Settings(home=tmp_path, root=tmp_path, work_pool="kubernetes")
    with pytest.raises(UserError, match=r"job-template\.json: no such file"):
        job_template(chosen)
    (tmp_path / JOB_TEMPLATE).parent.mkdir(parents=True)
    shutil.copy(ROOT / JOB_TEMPLATE, tmp_path / JOB_TEMPLATE)
    assert job_template(chosen)["variables"]["properties"]["namespace"]["default"] == "hedonic"
