"""Formulas of a symbol's own facts: exposures, returns, volatilities, prices (docs/methods.md §1, §3 and §4). Pure."""

from __future__ import annotations

from typing import Any

from services.coordinator.explain.formulas.model import Formula, Source, formula
from shared.market import registry

_BETA = registry.BETA_WINDOW + 1
_OLS = {
    "window": registry.BETA_WINDOW,
    "min_obs": registry.BETA_MIN_OBS,
    "full_obs": registry.BETA_FULL_OBS,
    "flag": registry.BETA_FLAG,
    "no_variance": registry.NO_VARIANCE,
    "exact_fit": registry.EXACT_FIT,
}
_JOINT = _OLS | {"penalty": registry.JOINT_PENALTY}
_VOLATILITY = {"min_share": registry.VOLATILITY_MIN_SHARE, "sessions_a_year": registry.SESSIONS_A_YEAR}


def _fit(pattern: str, text: str, *proxies: str, **more: Any) -> Formula:
    return formula(f"factors/{pattern}", text, Source.PRICES, Source.PROXIES, window=_BETA, proxies=proxies,
             **{"parameters": _OLS, **more})  # fmt: skip


def _market(name: str, text: str, **more: Any) -> Formula:
    return _fit(
        f"market_beta/{name}",
        f"OLS with intercept of the symbol's returns on the market's: {text}",
        registry.MARKET,
        **more,
    )


FACTS: tuple[Formula, ...] = (
    # --- factors ---
    _fit("proxies/*", "the first of the factor's proxies with all returns of the window"),
    _market("beta", "the slope"),
    _market("alpha", "the intercept, daily"),
    _market("r2", "1 - residual over total squares"),
    _market("stderr", "the slope's classical error"),
    _market("stderr_hac", "the slope's error after Newey and West, Bartlett kernel, lag floor(4 (n/100)^(2/9)), no small-sample "
            "correction", steps=("n_obs",)),
    _market("t_hac", "beta / stderr_hac", steps=("beta", "stderr_hac")),
    _market("n_obs", "sessions of the window with both returns"),
    _market("**", "full from full_obs returns on, limited below, none without a figure; flagged: a beta beyond the flag"),
    _fit("market_beta_shrunk/beta", "(beta sd^2 + mean s^2) / (sd^2 + s^2), s = stderr_hac (Vasicek, with a fixed prior)", registry.MARKET,
         parameters=_OLS | {"mean": registry.SHRINK_MEAN, "sd": registry.SHRINK_SD}, steps=("market_beta.beta", "market_beta.stderr_hac")),
    _fit("ir_beta/**", "coefficient of the rates proxy in OLS on the market and rates", registry.MARKET, registry.RATES),
    *(_fit(f"spreads/{spread.name}/**", "OLS on the market and the spread: beta the spread's coefficient, stderr_hac its error after "
           "Newey and West, r2 of both", registry.MARKET, spread.long, spread.short,
           parameters=_OLS | {"long": spread.long, "short": spread.short}, steps=("n_obs",)) for spread in registry.SPREADS),
    _fit("joint/betas/*", "ridge on the market and the residuals of the other proxies, which alone are penalised; of a proxy its "
         "slope on the market and 1 on the own factor; growth is by itself, OLS on the market and it", parameters=_JOINT,
         steps=("n_obs", "r2", "condition")),
    _fit("joint/stderr_hac/*", "root of the beta's element of H^-1 X'OX H^-1, H the ridge's matrix, O the residuals' autocovariances with "
         "Bartlett weights, lag floor(4 (n/100)^(2/9)); without the bias of the penalty", parameters=_JOINT, steps=("n_obs",)),
    _fit("joint/r2", "of the joint set: 1 - residual over total squares", parameters=_JOINT, steps=("n_obs",)),
    _fit("joint/condition", "root of the largest over the smallest eigenvalue of the correlations of the joint set's regressors",
         parameters=_JOINT, steps=("n_obs",)),
    _fit("joint/resid_sd", "root of the joint set's residual squares over n - 1, daily", parameters=_JOINT, steps=("n_obs",)),
    _fit("joint/n_obs", "sessions of the window on which symbol and market both have a return", parameters=_JOINT),
    _fit("joint/reasons/*", "why a beta of the joint set is null", parameters=_JOINT),
    formula("factors/provider_beta/**", "the vendor's own, the newest said on or before the session; ours never stands in for it",
      Source.PROFILES),
    # --- metrics ---
    formula("metrics/price", "close as traded, else the adjusted one", Source.PRICES),
    formula("metrics/price_basis", "which of the closes the price is", Source.PRICES),
    formula("metrics/price_return/*", "close over close at the base session, splits in between taken out, - 1",
      Source.PRICES, Source.ACTIONS,
      based=True),
    formula("metrics/total_return/*",
      "product of (1 + daily return) over the sessions after the base - 1; where one has no return, the ratio of "
      "the adjusted closes at both ends", Source.PRICES, based=True),
    *(formula(f"metrics/volatility/{window}", "standard deviation of the window's returns, times the root of 252", Source.PRICES,
        parameters=_VOLATILITY | {"window": window}, window=window + 1) for window in registry.VOLATILITY_WINDOWS),
    formula("metrics/fundamentals/**", "as the vendor said it last, on or before the session", Source.PROFILES),
    # --- prices ---
    formula("prices/actions/*", "as the provider lists it: new shares per old, or cash per share as paid", Source.ACTIONS),
    *(formula(f"prices/{name}",
        "simple daily total return, both ends from one column of one fetch: on a session with a listed action closes as "
        "traded with splits and dividends; else adjusted closes; else closes", Source.PRICES, Source.ACTIONS, window=2)
      for name in ("total_return", "return_basis")),
    formula("prices/return_remark",
      "adjusted closes against closes and listed actions, where they differ by more than 20 bp; or a payment in "
      "another currency was left out", Source.PRICES, Source.ACTIONS, window=2),
    formula("prices/adj_close", "as delivered, on the level of the first fetch", Source.PRICES),
    formula("prices/*", "as traded: split-adjusted deliveries are multiplied by every later split that the source lists", Source.PRICES,
      Source.ACTIONS),
)  # fmt: skip
