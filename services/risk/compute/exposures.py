"""The factor-exposures document."""

from __future__ import annotations

from services.risk.compute.aggregation import Exposures
from services.risk.compute.inputs import OPTION, PUBLIC, REPORTED, Panel, Stack
from services.risk.compute.reasons import (
    LOW_COVERAGE,
    NAV_NOT_POSITIVE,
    NO_PROXY,
    SHORT_HISTORY,
    Document,
    Reasons,
    nullable,
)
from services.risk.compute.reasons import symbol_reason as reason_of
from shared.market.registry import BETA_WINDOW, COVERAGE_GATE, FACTOR_NAMES, SPREADS

# The factors whose proxies a reported exposure needs.
NEEDS: dict[str, tuple[str, ...]] = {
    "market_beta": ("market",),
    "market_beta_shrunk": ("market",),
    "ir_beta": ("market", "rates"),
} | {f"spread_{spread.name}": ("market", spread.long, spread.short) for spread in SPREADS}


def proxy_names(panel: Panel, s: int) -> dict[str, str | None]:
    """The proxy that stood for each factor on session s."""
    return {
        name: panel.symbols[row] if row >= 0 else None
        for name, row in zip(FACTOR_NAMES, panel.proxies[s].tolist(), strict=True)
    }


def exposure_documents(
    panel: Panel,
    stack: Stack,
    unpriceable: list[list[bool]],
    joint: Exposures,
    reported: Exposures,
    reasons: list[Reasons],
) -> list[Document]:
    """One document a unit of the stack; withheld factors are named in `reasons` too."""
    tables = [("joint", FACTOR_NAMES, _columns(joint)), ("reported", REPORTED, _columns(reported))]
    weights, values, betas = nullable(stack.weight), stack.value.tolist(), nullable(joint.betas)
    documents: list[Document] = []
    for i, s in enumerate(stack.sessions.tolist()):
        proxies = proxy_names(panel, s)
        factors: list[Document] = []
        for name, figures, (beta, money, covered, limited) in tables:
            for k, figure in enumerate(figures):
                reason = None
                if beta[i][k] is None:
                    reason = _why(figure, proxies, covered[i][k], positive=stack.nav[i] > 0.0)
                    reasons[i].add(reason, figure=figure)
                factors.append(
                    {
                        "factor": figure,
                        "set": name,
                        "beta": beta[i][k],
                        "money": money[i][k],
                        "covered_weight": covered[i][k],
                        "quality": "none" if money[i][k] is None else "limited" if limited[i][k] else "full",
                        "reason": reason,
                    }
                )
        positions = [
            {
                "symbol": panel.symbols[row],
                "weight": weights[i][j],
                "exposure_value": None if panel.kinds[row] == OPTION else values[i][j],
                "betas": dict(zip(FACTOR_NAMES, betas[i][j], strict=True)),
                "reason": _position_reason(panel, s, row, unpriceable=unpriceable[i][j])
                if betas[i][j][0] is None
                else None,
            }
            for j, row in enumerate(stack.rows[i].tolist())
        ]
        documents.append({"proxies": proxies, "factors": factors, "positions": positions})
    return documents


def _columns(
    of: Exposures,
) -> tuple[list[list[float | None]], list[list[float | None]], list[list[float]], list[list[bool]]]:
    return nullable(of.beta), nullable(of.money), of.covered_weight.tolist(), of.limited.tolist()


def _why(figure: str, proxies: dict[str, str | None], covered: float, *, positive: bool) -> str:
    if any(proxies[name] is None for name in NEEDS.get(figure, ("market", figure))):
        return NO_PROXY
    if covered < COVERAGE_GATE:
        return LOW_COVERAGE
    return NAV_NOT_POSITIVE if not positive else SHORT_HISTORY


def _position_reason(panel: Panel, s: int, row: int, *, unpriceable: bool) -> str:
    reason = reason_of(panel, s, row, BETA_WINDOW, unpriceable=unpriceable)
    if panel.kinds[row] != PUBLIC or unpriceable:
        return reason
    return panel.fact_reasons.get((s, row), reason)
