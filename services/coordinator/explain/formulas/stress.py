"""Formulas of correlations and stress (docs/methods.md §8 and §9). Pure."""

from __future__ import annotations

from services.coordinator.explain.formulas.model import Formula, Source, formula
from services.coordinator.explain.formulas.risk import BOOK, CORRELATION, GATED, JOINT, SERIES, YEAR
from shared.market import registry

_LABELS = CORRELATION | GATED | {"cut": registry.CLUSTER_CUT}
_DIRECT = (*SERIES, Source.SCENARIO)
_STRESS = {
    "window": registry.STRESS_WINDOW,
    "half_life": registry.STRESS_HALF_LIFE,
    "cap_sigmas": registry.STRESS_CAP_SIGMAS,
    "cap_sessions": registry.STRESS_CAP_SESSIONS,
}
_STRESSED = registry.STRESS_WINDOW + 1

MODELS: tuple[Formula, ...] = (
    # --- correlations ---
    formula("correlations/factors/n_obs", "returns of the window: a proxy stands for its factor only if it has them all", Source.PROXIES,
      parameters=CORRELATION, window=YEAR),
    formula("correlations/factors/labels", "the factors with a proxy that has all returns of the window", Source.PROXIES,
      parameters=CORRELATION, window=YEAR),
    formula("correlations/factors/**",
      "sample correlation of the raw returns of the factors' proxies, not of their residuals; null where one "
      "does not move", Source.PROXIES, parameters=CORRELATION, window=YEAR),
    formula("correlations/matrix/*/*", "correlation of total returns, eigenvalues shrunk (Ledoit and Wolf 2022); null with too few joint "
      "returns", *SERIES,
      parameters=CORRELATION, window=YEAR, steps=("shrinkage",)),
    formula("correlations/n_obs/*/*", "sessions of the window on which both returns are real; on the diagonal the holding's own", *BOOK,
      parameters=CORRELATION, window=YEAR),
    formula("correlations/clusters", "average linkage on root((1 - rho) / 2), cut at the root of `cut`", *SERIES, parameters=_LABELS,
      window=YEAR),
    formula("correlations/labels", "the holdings that are in the matrix", *BOOK, parameters=CORRELATION, window=YEAR),
    formula("correlations/excluded/*", "why the holding is not in the matrix: fewer real returns than min_obs, private, an option, or "
      "unpriceable", *BOOK, parameters=CORRELATION, window=YEAR, own=True),
    formula("correlations/**", "of the matrix: how far shrinking moved it, of the sample's norm; mean of the absolute values off the "
      "diagonal", *SERIES,
      parameters=CORRELATION | GATED, window=YEAR),
    # --- stress ---
    formula("stress/*/name", "as the scenario file has it", Source.SCENARIO),
    *(formula(f"stress/*/{name}", "what becomes of implied volatilities: times (1 + vol_relative), or plus vol_points; the money over "
        "what the factors explain is in `volatility`", Source.SCENARIO) for name in ("vol_relative", "vol_points")),
    formula("stress/*/rates_bp", "the move of yields in basis points, as the scenario file has it", Source.SCENARIO),
    formula("stress/*/duration_as_of", "date of the duration that counts, where the scenario moves yields: one that is written down and "
      "dated in the month before the session, else the 25-year par bond on the newest yield curve of the month before, else the newest "
      "that is written down", Source.SCENARIO),
    formula("stress/*/shocks/rates", "as the scenario file states the return; of rates_bp, in basis points dy, -D dy + C dy^2 / 2 with "
      "the duration D (years) and convexity C (years^2) of duration_as_of", Source.SCENARIO),
    formula("stress/*/shocks/*", "return of the factor's raw proxy: as the scenario file states it; of a replay, the proxy's total return "
      "over the window; of a relative shock or one in sigmas, b_k s_m + e_k with the propagated market, where a sigma is root(63) daily "
      "standard deviations of the residual", Source.SCENARIO),
    formula("stress/*/capped", "unscripted factors whose implied shock was beyond cap_sigmas standard deviations of cap_sessions sessions",
      Source.PROXIES, Source.SCENARIO, parameters=_STRESS, window=_STRESSED),
    formula("stress/*/uncovered_value", "gross value of the holdings without a market beta", *SERIES, parameters=JOINT,
      window=registry.BETA_WINDOW + 1),
    formula("stress/*/reason", "why the scenario is withheld", *_DIRECT, parameters=JOINT, window=_STRESSED),
    *(formula(f"stress/*/direct{below}",
        "sum of value_i (beta_m s_m + sum of beta_k e_k), e_k = s_k - b_k s_m, or as scripted where relative; others are zero; a "
        "holding loses at most all; fraction: over NAV; fraction_filled: with what is uncovered moving as the market, options not at all",
        *_DIRECT, parameters=JOINT | GATED, window=registry.BETA_WINDOW + 1,
        steps=("uncovered_value",)) for below in ("", "/**")),
    formula("stress/*/propagated/shocks/*", "scripted factors as scripted; the others at their mean given those, S_us S_ss^-1 s_s (EWMA "
      "covariance of the market and the residuals), capped", Source.PROXIES, Source.SCENARIO, parameters=_STRESS, window=_STRESSED),
    *(formula(f"stress/*/propagated{below}",
        "as direct, with the unscripted factors at their mean given the scripted ones (EWMA covariance), "
        "capped", *_DIRECT, parameters=JOINT | GATED | _STRESS, window=_STRESSED, steps=("uncovered_value",)) for below in ("", "/**")),
)  # fmt: skip
