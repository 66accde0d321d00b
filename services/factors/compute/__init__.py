"""The numbers of a symbol: exposures to the factors, and its own returns and volatilities. Pure, array in, array out."""

from services.factors.compute.curve import CurveColumn, curve_column, curve_versions, without_fund
from services.factors.compute.exposures import Exposures, ProxyTable, exposures
from services.factors.compute.freshness import price_versions, stale
from services.factors.compute.metrics import REMARKS, Metrics, Prices, has_recent_price, metrics
from services.factors.compute.own_factors import own_factors
from services.factors.compute.rows import (
    FactIndex,
    FactRows,
    ProxyRow,
    absences,
    exposure_rows,
    metric_rows,
    proxy_rows,
)

__all__ = [
    "REMARKS",
    "CurveColumn",
    "Exposures",
    "FactIndex",
    "FactRows",
    "Metrics",
    "Prices",
    "ProxyRow",
    "ProxyTable",
    "absences",
    "curve_column",
    "curve_versions",
    "exposure_rows",
    "exposures",
    "has_recent_price",
    "metric_rows",
    "metrics",
    "own_factors",
    "price_versions",
    "proxy_rows",
    "stale",
    "without_fund",
]
