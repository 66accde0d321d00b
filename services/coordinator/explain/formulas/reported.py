"""Formulas of sets that are reported beside risk (docs/methods.md §16): what stands behind funds, betas to sectors' funds. Pure."""

from __future__ import annotations

from services.coordinator.explain.formulas.model import Formula, Source, formula
from shared.market import registry

_BEHIND = (Source.SNAPSHOT, Source.PRICES, Source.FUND_LISTS)
_SECTORED = (*_BEHIND, Source.PROFILES, Source.LOTS)
_GATE = {"coverage_gate": registry.COVERAGE_GATE}
_MONEY = (
    "value of a holding, of an option delta times quantity times 100 times underlying, and of each name of a fund's list its weight times "
    "that"
)
_BESIDE = (Source.SNAPSHOT, Source.PRICES, Source.PROXIES, Source.FACTS)
_OLS = {"window": registry.BETA_WINDOW, "min_obs": registry.BETA_MIN_OBS} | _GATE
_YEAR = registry.BETA_WINDOW + 1


def _beside(name: str, text: str) -> Formula:
    return formula(f"sector_exposures/*/{name}", text, *_BESIDE, parameters=_OLS, window=_YEAR, steps=("fund", "n_obs"))


REPORTED: tuple[Formula, ...] = (
    formula("look_through/looked_through", "gross money in funds that is in their lists over gross money in funds; null without a fund",
      *_BEHIND, Source.PROFILES),
    formula("look_through/names", "names that stand behind the holdings", *_BEHIND),
    formula("look_through/concentration/hhi", f"10,000 times the sum of squared shares of gross money by name; money: {_MONEY}", *_BEHIND,
      parameters=_GATE),
    formula("look_through/concentration/effective", "10,000 / hhi", *_BEHIND, parameters=_GATE, steps=("hhi",)),
    formula("look_through/concentration/*", "share of gross money in the largest three or ten names", *_BEHIND, parameters=_GATE),
    formula("look_through/sectors", "null below coverage_gate", *_SECTORED, parameters=_GATE),
    formula("look_through/sectors/*/*", f"money of the sector's names over NAV; direct: held itself; through: in funds; gross: long less "
      f"short; money: {_MONEY}", *_SECTORED, parameters=_GATE),
    formula("look_through/funds/*/market_value", "value of the position", Source.SNAPSHOT, Source.PRICES, own=True),
    formula("look_through/funds/*/weight", "value of the position over NAV", Source.SNAPSHOT, Source.PRICES, own=True),
    formula("look_through/funds/*/**", "of the newest list dated on or before the session: its date, how many names it has, what their "
      "weights sum to; the reason why the fund is not opened", Source.FUND_LISTS, Source.PROFILES, own=True),
    formula("look_through/items/*/sector", "of what is held as vendors said it last by the session, else as the user says; of what is not "
      "held as the list says, else as vendors; of what a list leaves of a fund: ETF", *_SECTORED),
    formula("look_through/items/*/*", f"direct: held itself; through: in funds; money: both; weight: over NAV; money is {_MONEY}",
      *_BEHIND),
    formula("sector_exposures/market", "the first of the market's proxies with all returns of the window", Source.PROXIES, window=_YEAR),
    formula("sector_exposures/covered_weight", "share of gross value, each holding by the part of its window's returns that are real",
      *_BESIDE, parameters=_OLS, window=_YEAR),
    formula("sector_exposures/*/fund", "the Select Sector fund that stands for the sector"),
    formula("sector_exposures/*/n_obs", "sessions of the window with a market return", *_BESIDE, parameters=_OLS, window=_YEAR),
    _beside("beta", "coefficient of the fund in OLS with intercept of the series of constant weights on {market, fund}"),
    _beside("stderr_hac", "Newey-West error of the coefficient (Bartlett kernel), without a correction for small samples"),
    _beside("t_hac", "beta over stderr_hac; null where the regression leaves nothing over"),
    _beside("r2", "1 - residual over total squares of the regression on {market, fund}"),
    _beside("money", "beta times NAV"),
    _beside("reason", "why there is no beta"),
)  # fmt: skip
