"""The Great Expectations project that is derived from the contracts: suites, checkpoints, their rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import great_expectations as gx
from great_expectations.checkpoint.actions import UpdateDataDocsAction
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.datasource.fluent.pandas_datasource import PandasDatasource
from great_expectations.exceptions.exceptions import ExpectationNotFoundError
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.expectations.registry import get_expectation_impl

from hedonic.data.contract import Contract
from hedonic.data.custom_expectations import MENDED
from hedonic.data.suite import Check
from hedonic.errors import ContractError, HedonicError

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.data_context.data_context.file_data_context import FileDataContext

SITE = "hedonic"
COMPLETE = {"result_format": "COMPLETE"}


def build_suite(contract: Contract, checks: Sequence[Check]) -> gx.ExpectationSuite:
    """Return the checks as an expectation suite named after the data set.

    Raises:
        ContractError: a stated expectation has a name or arguments that Great Expectations refuses.
    """
    expectations, problems = [], []
    for check in checks:
        try:
            kind = MENDED.get(check.type) or get_expectation_impl(check.type)
            expectations.append(
                kind(
                    **check.kwargs,
                    severity=FailureSeverity(check.severity.value),
                    description=check.description,
                    meta={"check": check.name},
                )
            )
        except ExpectationNotFoundError:
            problems.append(f"expectation {check.type} is unknown to Great Expectations: correct its name")
        except (ValueError, TypeError) as err:
            problems.append(f"expectation {check.type}: {'; '.join(str(err).splitlines())}: mend its kwargs")
    if problems:
        raise ContractError("\n".join(f"expectations/{contract.name}.yaml: {line}" for line in problems))
    suite = gx.ExpectationSuite(name=contract.name, expectations=expectations)
    _require_all(contract, checks, suite)
    return suite


def open_project(gx_folder: Path) -> FileDataContext:
    """Return the Great Expectations project in ``gx_folder``, made if it is not there.

    A plain ``gx.get_context`` opens it too, once this module has been imported: Great Expectations
    drops the expectations of ours that it does not know.
    """
    context = gx.get_context(mode="file", context_root_dir=gx_folder)
    context.enable_analytics(False)
    bars = context.variables.progress_bars
    if bars is None or bars["globally"]:
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        context.variables.save()
    return context


def write_checkpoint(
    contract: Contract, checks: Sequence[Check], gx_folder: Path, docs_folder: Path
) -> gx.Checkpoint:
    """Return the checkpoint of the data set, after writing it and all it needs."""
    context = open_project(gx_folder)
    _set_site(context, docs_folder)
    suite = build_suite(contract, checks)
    if _is_there(context, suite):
        return context.checkpoints.get(contract.name)
    # Adding anew is many times faster than Great Expectations' own update of a suite.
    for kind in (context.checkpoints, context.validation_definitions, context.suites):
        if contract.name in {stored.name for stored in kind.all()}:
            kind.delete(contract.name)
    stored = context.suites.add(suite)
    _require_all(contract, checks, context.suites.get(contract.name))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=contract.name, data=_rows(context, contract), suite=stored)
    )
    return context.checkpoints.add(
        gx.Checkpoint(
            name=contract.name,
            validation_definitions=[definition],
            actions=[UpdateDataDocsAction(name="data-docs", site_names=[SITE])],
            result_format=COMPLETE,
        )
    )


def _rows(context: FileDataContext, contract: Contract) -> BatchDefinition[Any]:
    """Return the definition of the batch that is the whole snapshot, added unless it is there."""
    if SITE not in context.data_sources.all():
        context.data_sources.add_pandas(SITE)
    source = context.data_sources.get(SITE)
    if not isinstance(source, PandasDatasource):
        raise HedonicError(f"{context.root_directory}: data source {SITE!r} is not ours. Remove the folder.")
    if contract.name not in source.get_asset_names():
        source.add_dataframe_asset(contract.name).add_batch_definition_whole_dataframe("all")
    rows: BatchDefinition[Any] = source.get_asset(contract.name).get_batch_definition("all")
    return rows


def _is_there(context: FileDataContext, suite: gx.ExpectationSuite) -> bool:
    """Return whether the project holds this very suite, and a checkpoint that runs it."""
    if suite.name not in {stored.name for stored in context.checkpoints.all()}:
        return False
    stored = context.suites.get(str(suite.name))
    return _meaning(stored) == _meaning(suite)


def _meaning(suite: gx.ExpectationSuite) -> list[dict[str, Any]]:
    plain = [expectation.configuration.to_json_dict() for expectation in suite.expectations]
    return [{key: value for key, value in one.items() if key != "id"} for one in plain]


def _set_site(context: FileDataContext, docs_folder: Path) -> None:
    """Let the project's only site be ours; its index is written by us, for theirs needs other hosts."""
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(docs_folder.absolute()),
        },
        "site_index_builder": None,
    }
    if context.variables.data_docs_sites != {SITE: site}:
        context.variables.data_docs_sites = {SITE: site}
        context.variables.save()


def _require_all(contract: Contract, checks: Sequence[Check], suite: gx.ExpectationSuite) -> None:
    """Refuse a suite that lacks a check: Great Expectations drops what it does not know."""
    asked = [check.name for check in checks]
    built = [(expectation.meta or {}).get("check") for expectation in suite.expectations]
    lost = sorted(set(asked) - set(built))
    if lost or len(built) != len(asked) or len(set(asked)) != len(asked):
        raise ContractError(
            f"expectations/{contract.name}.yaml: {len(asked)} checks were asked for, {len(built)} are in the "
            f"suite (lost: {', '.join(lost) or 'none'}). Correct or remove the expectations that were lost."
        )
