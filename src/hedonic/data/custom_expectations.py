"""The expectations that Great Expectations lacks; importing this module registers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
from great_expectations.expectations.core.expect_column_quantile_values_to_be_between import (
    ExpectColumnQuantileValuesToBeBetween,
)
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    Expectation,
    MulticolumnMapExpectation,
)
from great_expectations.expectations.metrics.map_metric_provider.column_condition_partial import (
    column_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.column_map_metric_provider import (
    ColumnMapMetricProvider,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_condition_partial import (
    multicolumn_condition_partial,
)
from great_expectations.expectations.metrics.map_metric_provider.multicolumn_map_metric_provider import (
    MulticolumnMapMetricProvider,
)

from hedonic.data.rules import RowRule


class ColumnValuesFinite(ColumnMapMetricProvider):
    """The metric behind ``expect_column_values_to_be_finite``."""

    condition_metric_name = "column_values.finite"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **_: Any) -> pd.Series:  # noqa: N805
        return pd.Series(np.isfinite(column.to_numpy(np.float64)), index=column.index)


class ExpectColumnValuesToBeFinite(ColumnMapExpectation):
    """Expect no value to be infinite; missing values are not looked at."""

    map_metric: ClassVar[str] = "column_values.finite"


class RowsMeetRule(MulticolumnMapMetricProvider):
    """The metric behind ``expect_row_rule_to_hold``."""

    condition_metric_name = "multicolumn_values.row_rule"
    condition_value_keys = ("rule",)

    @multicolumn_condition_partial(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, column_list: pd.DataFrame, rule: str, **_: Any) -> pd.Series:  # noqa: N805
        columns = {str(name): _numbers(column_list[name]) for name in column_list.columns}
        return pd.Series(RowRule.parse(rule).holds(columns), index=column_list.index)


class ExpectRowRuleToHold(MulticolumnMapExpectation):
    """Expect a row rule of the contract to hold in every row; see ``hedonic.data.rules``."""

    rule: str
    ignore_row_if: Literal["all_values_are_missing", "any_value_is_missing", "never"] = "never"

    map_metric: ClassVar[str] = "multicolumn_values.row_rule"
    success_keys: ClassVar[tuple[str, ...]] = ("rule", "mostly")
    args_keys: ClassVar[tuple[str, ...]] = ("column_list", "rule")


class ExpectColumnQuantilesToBeBetween(ExpectColumnQuantileValuesToBeBetween):
    """Expect quantiles within ranges, as ``expect_column_quantile_values_to_be_between`` does.

    That one, in Great Expectations 1.24, answers with numpy's bool, which its own store cannot write
    as JSON: the whole run dies. It is built as this one, which answers with a plain bool.
    """

    def _validate(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        found: Any = super()._validate(*args, **kwargs)
        return {**found, "success": bool(found["success"])}


MENDED: Mapping[str, type[Expectation]] = {
    "expect_column_quantile_values_to_be_between": ExpectColumnQuantilesToBeBetween
}
"""By the name in a contract, the expectations that are built as one of ours."""


def _numbers(values: pd.Series) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the column as rules see it: dates are days since 1970-01-01, NaN is missing."""
    if pd.api.types.is_datetime64_dtype(values):
        stamps = values.to_numpy(dtype="datetime64[D]")
        return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64).astype(np.float64))
    return values.to_numpy(np.float64, na_value=np.nan)
