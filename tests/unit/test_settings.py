"""Where parts are asked and opened: here, or where the settings say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hedonic.settings import Addresses, Settings


def settings(tmp_path, **changes) -> Settings:
    return Settings(home=tmp_path, root=tmp_path, **changes)


def test_parts_answer_here_on_their_ports_unless_they_run_elsewhere(tmp_path):
    here = settings(tmp_path)
    assert here.address("mlflow") == here.page("mlflow") == "http://127.0.0.1:5000"
    assert here.endpoint_address("cars", 3005) == "http://127.0.0.1:3005"
    assert here.tracking_uri == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    away = settings(
        tmp_path,
        services=Addresses(mlflow="http://mlflow:5000", endpoint="http://endpoint-{dataset}:3000"),
        pages=Addresses(mlflow="https://mlflow.example.com"),
    )
    assert away.tracking_uri == away.address("mlflow") == "http://mlflow:5000"
    assert away.page("mlflow") == "https://mlflow.example.com"
    assert (
        away.endpoint_address("cars", 3005) == away.endpoint_page("cars", 3005) == "http://endpoint-cars:3000"
    )
    assert away.address("prefect") == "http://127.0.0.1:4200"


def test_the_host_of_an_endpoint_may_be_named_with_hyphens(tmp_path):
    away = settings(
        tmp_path,
        services=Addresses(endpoint="http://endpoint-{name}:8080"),
        pages=Addresses(endpoint="https://{name}.example.com/{dataset}"),
    )
    assert away.endpoint_address("king_county", 3001) == "http://endpoint-king-county:8080"
    assert away.endpoint_page("king_county", 3001) == "https://king-county.example.com/king_county"


def test_each_tools_own_command_line_is_pointed_at_what_runs_elsewhere(tmp_path):
    away = settings(
        tmp_path,
        services=Addresses(prefect="http://prefect:4200", mlflow="http://mlflow:5000"),
        pages=Addresses(prefect="https://prefect.example.com"),
        studies_url="postgresql+psycopg://hedonic:a-secret@postgres/optuna",
    )
    told = away.environment()
    assert told["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert told["PREFECT_SERVER_UI_API_URL"] == "https://prefect.example.com/api"
    assert told["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert told["HEDONIC_STUDIES"] == away.studies_url


def test_what_is_told_of_a_database_leaves_its_password_out(tmp_path):
    told = settings(tmp_path, studies_url="postgresql+psycopg://hedonic:a-secret@postgres/optuna")
    assert told.written_studies == "postgresql+psycopg://hedonic:***@postgres/optuna"
    assert settings(tmp_path).written_studies == tmp_path / "optuna" / "studies.journal"


@pytest.mark.parametrize("wrong", ["mlflow:5000", "http://mlflow:5000/", "ftp://mlflow", ""])
def test_what_is_no_address_is_refused(wrong):
    with pytest.raises(ValidationError, match="mlflow"):
        Addresses(mlflow=wrong)
