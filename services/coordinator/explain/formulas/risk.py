"""Formulas of exposures and risk (docs/methods.md §5, §7, §8, §10 and §11). Pure."""

from __future__ import annotations

from services.coordinator.explain.formulas.model import Formula, Source, Span, formula
from shared.market import registry

BOOK = (Source.SNAPSHOT, Source.PRICES)
SERIES = (*BOOK, Source.PROXIES, Source.FACTS)
GATED = {"coverage_gate": registry.COVERAGE_GATE}
CORRELATION = {"window": registry.CORRELATION_WINDOW, "min_obs": registry.CORRELATION_MIN_OBS}
JOINT = {"window": registry.BETA_WINDOW, "min_obs": registry.BETA_MIN_OBS, "penalty": registry.JOINT_PENALTY}
# Returns are counted, and n of them rest on n + 1 prices.
YEAR, WHOLE = registry.CORRELATION_WINDOW + 1, registry.LOOKBACK + 1
_ANNUAL = {"sessions_a_year": registry.SESSIONS_A_YEAR}
_SHARE = {"min_share": registry.VOLATILITY_MIN_SHARE}
_HAR = {
    "horizon": registry.HAR_HORIZON,
    "week": registry.HAR_WEEK,
    "month": registry.HAR_MONTH,
    "min_rows": registry.HAR_MIN_ROWS,
    "singular": registry.HAR_SINGULAR,
    "window": registry.LOOKBACK,
    "ewma_decay": registry.EWMA_DECAY,
    "ewma_min_obs": registry.EWMA_MIN_OBS,
    "interval_z": registry.HAR_INTERVAL_Z,
    "sessions_a_year": registry.SESSIONS_A_YEAR,
}
_TAIL = {"window": registry.LOOKBACK, "min_obs": registry.VAR_MIN_OBS}
_ALONE = "the series to which a return that a holding lacks, or one at a price that is no evidence, adds 0"
_PERCENTILE = registry.PERCENTILE_HISTORY + registry.TREND_WINDOW
_OPTION = {
    "rate_without_curve": registry.OPTION_RATE,
    "days_a_year": registry.OPTION_DAYS_A_YEAR,
    "most_volatility": registry.OPTION_MOST_VOLATILITY,
}
_SCORED = (Source.RESULTS, Source.HISTORY, Source.PRICES)
_LOSS = {"horizon": registry.HAR_HORIZON, "sessions_a_year": registry.SESSIONS_A_YEAR}
_LEVEL = {"level": registry.SCORED_LEVEL}
_QLIKE = "mean of x - ln x - 1, x = realised variance of the horizon's sessions after over forecast variance (QLIKE)"
_ERROR = "mean of forecast less realised volatility, annualised, over the forecasts whose horizon has passed"
_KUPIEC = ("Kupiec: lr = 2 ln of the likelihood of x exceedances in n sessions at x/n over that at 1 - level, p from chi-squared(1); "
           "expected = (1 - level) n")  # fmt: skip

RISK: tuple[Formula, ...] = (
    *(formula(f"{answer}/coverage", "share of gross value, each holding by the part of its window's returns that are real; a price that is "
        "no evidence any more counts nothing; 1 where nothing is held", *BOOK, parameters=CORRELATION | GATED, window=YEAR)
      for answer in ("exposures", "risk", "correlations", "stress", "scorecard")),
    # --- exposures ---
    formula("exposures/proxies/*", "the first of the factor's proxies with all returns of the window", Source.PROXIES,
      parameters=JOINT, window=registry.BETA_WINDOW + 1),
    formula("exposures/factors/*/label", "the factor in words; with SIZE as its proxy, size is a low-size tilt of large and mid caps",
      Source.PROXIES),
    *(formula(f"exposures/factors/*/{name}", "stderr_hac: of the ridge on the portfolio's series of constant weights, root of the beta's "
        "element of H^-1 X'OX H^-1 (Newey and West), without the bias of the penalty; t_hac = beta / stderr_hac; the joint set alone",
        *SERIES, parameters=JOINT | GATED, window=registry.BETA_WINDOW + 1) for name in ("stderr_hac", "t_hac")),
    formula("exposures/factors/*/**",
      "beta = sum of weight_i beta_i; money = sum of value_i beta_i; covered_weight = gross value with a beta "
      "/ gross value; joint: ridge on the market and the residuals of the other proxies; reported (growth too): single regressions",
      *SERIES, parameters=JOINT | GATED, window=registry.BETA_WINDOW + 1, steps=("covered_weight",)),
    formula("exposures/positions/*/betas/*",
      "ridge of the symbol's returns, of an option its underlying's, on the market and the residuals "
      "of the other proxies; of a proxy its slope on the market and 1 on the own factor",
      Source.FACTS, Source.PRICES, Source.PROXIES, parameters=JOINT, window=registry.BETA_WINDOW + 1,
      own=True),
    *(formula(f"exposures/positions/*/greeks{below}",
        "Black-Scholes without dividends, at the volatility that the option's own close and its "
        "underlying's imply; delta and gamma of one share, vega a point of volatility, theta a calendar day; rate to expiry: "
        "2 ln(1 + y/2) of the newest par yield curve dated in the month before the session, else rate_without_curve", Source.PRICES,
        Source.YIELDS, own=True,
        parameters=_OPTION) for below in ("", "/*")),
    formula("exposures/positions/*/exposure_value", "signed market value; of an option delta times quantity times multiplier times the "
      "underlying's close", *BOOK, Source.YIELDS, parameters=_OPTION | {"option_multiplier": registry.OPTION_MULTIPLIER}, own=True,
      steps=("greeks.delta",)),
    formula("exposures/positions/*/weight", "signed market value over NAV", *BOOK, own=True),
    formula("exposures/positions/*/**", "why there is no beta", Source.FACTS, *BOOK, parameters=JOINT, own=True,
      window=registry.BETA_WINDOW + 1),
    # --- volatility ---
    formula("risk/volatility/realized_nav_252", "standard deviation of the snapshots' daily returns, times the root of 252; not of "
      "sessions with nothing to earn on",
      Source.HISTORY, parameters=_ANNUAL | _SHARE | GATED | {"window": registry.NAV_WINDOW}, window=registry.NAV_WINDOW),
    *(formula(f"risk/volatility/realized_{window}", "standard deviation of the series of constant weights of the session, times the root "
        "of 252", *SERIES, parameters=_ANNUAL | GATED | _SHARE | {"window": window}, window=window + 1)
      for window in registry.VOLATILITY_WINDOWS),
    formula("risk/volatility/percentile_252", "share of the earlier rolling-21 standard deviations strictly below today's", *SERIES,
      parameters=GATED | {"history": registry.PERCENTILE_HISTORY, "window": registry.TREND_WINDOW}, window=_PERCENTILE + 1),
    formula("risk/volatility/trend/**", "z = ln(RMS now / RMS of the month before) / root((kurtosis - 1) / 42); rising or falling beyond z",
      *SERIES, parameters=GATED | {"window": registry.TREND_WINDOW, "z": registry.TREND_Z}, window=YEAR, steps=("z",)),
    formula("risk/volatility/forecast_21/**",
      "HAR in volatility form (Corsi 2009): RMS of the next 21 returns on |r|, RMS 5 and RMS 22, times har_weight, and the "
      "EWMA of squared returns times the rest, by their QLIKE within the window; the EWMA alone with fewer than 252 returns; low and high: "
      "value / and times exp(1.2816 * 1.2 * root(ln(1 + s^2 / y^2)))", *SERIES, parameters=GATED | _HAR, window=WHOLE,
      steps=("method", "n_obs", "variance")),
    formula("risk/positions/*/realized_252", "standard deviation of the symbol's returns, missing ones filled by its beta, times the root "
      "of 252", Source.PRICES,
      parameters=_ANNUAL | _SHARE | {"window": registry.CORRELATION_WINDOW}, window=YEAR, own=True),
    formula("risk/positions/*/es_975/*", "of the historical expected shortfall at 97.5 %: component = minus the mean of w_i r_i over the "
      "days at or below the quantile (they sum to it); marginal = minus the mean of r_i; incremental = the ES less that of the rest",
      *SERIES,
      parameters=GATED | _TAIL | {"level": registry.ES_LEVEL}, window=WHOLE),
    formula("risk/positions/*/**", "half the HAR in volatility form on the symbol's returns, half the EWMA; the EWMA where they are few",
      Source.PRICES,
      parameters=_HAR, window=WHOLE, own=True, steps=("method",)),
    # --- beta, decomposition ---
    formula("risk/beta/aggregated", "sum of weight_i times the joint market beta_i", *SERIES, parameters=JOINT | GATED,
      window=registry.BETA_WINDOW + 1),
    formula("risk/beta/aggregated_filled", "beta.aggregated, and the holdings without a beta as if they moved with the market; options not",
      *SERIES, parameters=JOINT | GATED, window=registry.BETA_WINDOW + 1),
    formula("risk/beta/**", "OLS of the series of constant weights on the market", *SERIES,
      parameters=GATED | {"window": registry.BETA_WINDOW}, window=registry.BETA_WINDOW + 1, steps=("n_obs", "r2")),
    formula("risk/decomposition/factors/*", "share of b'Fb + sum of w_i^2 resid_i^2 that falls to the factor", *SERIES, parameters=JOINT,
      window=registry.BETA_WINDOW + 1),
    *(formula(f"risk/decomposition/{name}", "b'Fb + sum of w_i^2 resid_i^2: model_vol its root, specific_share the second part of it",
        *SERIES, parameters=JOINT, window=registry.BETA_WINDOW + 1) for name in ("model_vol", "specific_share")),
    formula("risk/decomposition/excluded/*",
      "why the holding is not in the matrix: fewer real returns than min_obs, private, an option, or "
      "unpriceable", *BOOK, parameters=CORRELATION, window=YEAR, own=True),
    formula("risk/decomposition/**",
      "sigma = root(w'Sw) with shrunk eigenvalues of the correlations; contribution_i = w_i (Sw)_i / sigma, "
      "share its part; diversification ratio = sum |w| sigma_i / sigma; effective bets = exp(-sum p ln p) over eigenvectors", *SERIES,
      parameters=CORRELATION | GATED, window=YEAR, steps=("volatility", "shrinkage", "n_obs")),
    # --- tail ---
    *(formula(f"risk/var/historical/*{tail}",
        "historical: minus the quantile (linear) of the series of constant weights; es: minus the mean "
        "of the returns at or below it", *SERIES, parameters=GATED | _TAIL, window=WHOLE, steps=("n_obs",))
      for tail in ("", "/**")),
    *(formula(f"risk/var/normal/*{tail}", "normal: VaR = -(mean + z s), ES = -mean + s phi(z) / (1 - level)", *SERIES,
        parameters=GATED | _TAIL, window=WHOLE, steps=("n_obs",)) for tail in ("", "/**")),
    *(formula(f"risk/var/filtered/*{tail}", "filtered historical simulation: as historical, of the returns r_t s_D / s_(t-1) with the EWMA "
        "volatility s (decay 0.94) as of D and of the session before t; beyond `jump` s_(t-1) at most the larger of itself and `jump` s_D; "
        "null with fewer than min_filtered of them",
        *SERIES, parameters=GATED | _TAIL | {"jump": registry.FILTER_SIGMAS, "min_filtered": registry.VAR_MIN_OBS - registry.EWMA_MIN_OBS},
        window=WHOLE, steps=("n_obs",))
      for tail in ("", "/**")),
    *(formula(f"risk/var_10d/*/*{tail}", "ten sessions: scaled = root(10) times the historical figure of one; overlapping = the historical "
        "figure of all windows of ten compounded returns", *SERIES, parameters=GATED | _TAIL | {"days": registry.VAR_DAYS}, window=WHOLE)
      for tail in ("", "/**")),
    *(formula(f"risk/covered_only/{name}", text, *BOOK, parameters=GATED | more, window=window)
      for name, text, more, window in (
        *((f"coverage_{of}", "share of gross value, each holding by the part of the window's returns that are its own", {"window": of},
           of + 1) for of in registry.VOLATILITY_WINDOWS),
        ("coverage_var",
         "share of gross value backed by returns of its own, over the sessions since the first on which that was coverage_gate",
         {"window": registry.LOOKBACK}, WHOLE))),
    formula("risk/covered_only/beta", f"OLS of {_ALONE} on the market", *SERIES, parameters=GATED | {"window": registry.BETA_WINDOW},
      window=registry.BETA_WINDOW + 1, steps=("coverage_252",)),
    formula("risk/covered_only/forecast_21", f"as volatility.forecast_21, of {_ALONE}", *SERIES, parameters=GATED | _HAR, window=WHOLE,
      steps=("coverage_var",)),
    *(formula(f"risk/covered_only/realized_{window}", f"standard deviation of {_ALONE}, times the root of 252", *SERIES,
        parameters=_ANNUAL | GATED | _SHARE | {"window": window}, window=window + 1, steps=(f"coverage_{window}",))
      for window in registry.VOLATILITY_WINDOWS),
    formula("risk/covered_only/**", f"as var, of {_ALONE}", *SERIES, parameters=GATED | _TAIL, window=WHOLE),
    formula("risk/es_factors/**", "of the historical expected shortfall at 97.5 %: minus the mean of beta_k f_k over the days at or "
      "below the quantile, f the market's return or the residual r_k - b_k m; specific is the rest",
      *SERIES, parameters=JOINT | GATED | _TAIL | {"level": registry.ES_LEVEL}, window=WHOLE),
    formula("risk/reverse_stress/**", "the likeliest joint move that loses x of NAV by the betas: -x Sb / (b'Sb), S the EWMA covariance of "
      "the market and the residuals; sigmas = x / root(63 b'Sb); shocks: returns of the raw proxies, null where one would lose all",
      *SERIES, parameters=JOINT | GATED | {"loss": registry.REVERSE_LOSS, "half_life": registry.STRESS_HALF_LIFE},
      window=registry.STRESS_WINDOW + 1),
    formula("risk/drawdown/**", "from the snapshots' return index: now, the deepest, and the sessions of its peak and trough",
      Source.HISTORY, window=Span.CHAIN, steps=("peak", "trough")),
    formula("risk/concentration/risk_hhi", "sum of squared shares of |contribution| to the volatility, times 10,000", *SERIES,
      parameters=CORRELATION | GATED, window=YEAR),
    formula("risk/concentration/**", "HHI = 10,000 times the sum of squared shares of gross value by underlying; effective = 10,000 / HHI; "
      "top: the largest shares", *BOOK, parameters=GATED, steps=("hhi",)),
    formula("risk/sectors/*/benchmark",
      "the sector's weight in the benchmark's newest table dated on or before the session, rescaled to a sum "
      "of 1; 0 where it has nothing of the sector", Source.BENCHMARK),
    formula("risk/sectors/*/active", "net - benchmark", *BOOK, Source.LOTS, Source.PROFILES, Source.BENCHMARK, parameters=GATED,
      steps=("net", "benchmark")),
    formula("risk/sectors/*/**", "signed market values of the sector's holdings over NAV; a symbol's own sector, else the stated one",
      *BOOK, Source.LOTS, Source.PROFILES, parameters=GATED),
    formula("risk/benchmark", "code of the benchmark that sectors are compared with; null where it has no table yet", Source.BENCHMARK),
    formula("risk/benchmark_date", "date of its newest table on or before the session", Source.BENCHMARK),
    # --- scorecard ---
    formula("risk/scorecard/mean_error", _ERROR, *_SCORED, parameters=_LOSS, window=Span.CHAIN),
    formula("risk/scorecard/var_95/**",
      f"historical VaR of a session against the next session's return of its weights; {_KUPIEC}", *_SCORED,
      parameters=_LEVEL, window=Span.CHAIN, steps=("n", "exceedances")),
    formula("risk/scorecard/*", _QLIKE, *_SCORED, parameters=_LOSS, window=Span.CHAIN),
    formula("scorecard/horizon", "sessions ahead that a volatility forecast speaks of"),
    formula("scorecard/forecasts/*/mean_error", _ERROR, *_SCORED, parameters=_LOSS, window=Span.CHAIN, steps=("n",)),
    formula("scorecard/forecasts/*/n", "forecasts whose horizon has passed, with all its returns there", *_SCORED, parameters=_LOSS,
      window=Span.CHAIN),
    formula("scorecard/forecasts/*/**", _QLIKE, *_SCORED, parameters=_LOSS, window=Span.CHAIN, steps=("n",)),
    formula("scorecard/common/*", f"over the sessions that have both forecasts, how many n says: {_QLIKE}", *_SCORED, parameters=_LOSS,
      window=Span.CHAIN, steps=("n",)),
    *(formula(f"scorecard/var/*/*/{name}", "Christoffersen: 2 ln of the likelihood of the exceedances with one probability after an "
        "exceedance and another after none over that with one for both, p from chi-squared(1); pairs of sessions that follow one another",
        *_SCORED, window=Span.CHAIN, steps=("exceedances",)) for name in ("christoffersen_lr", "christoffersen_p")),
    formula("scorecard/var/*/*/zone", "by the probability of so many exceedances or fewer, binomial(n, 1 - level): green below 95 %, "
      "yellow below 99.99 %, else red; null below `least` sessions", *_SCORED, parameters={"least": registry.ZONE_MIN_SESSIONS},
      window=Span.CHAIN, steps=("n", "exceedances")),
    formula("scorecard/interval/**", "forecasts whose horizon has passed, and how many of the volatilities that came lay between low and "
      "high",
      *_SCORED, parameters=_LOSS, window=Span.CHAIN),
    formula("scorecard/var/*/*/**", f"VaR of a session against the next session's return of its weights; {_KUPIEC}", *_SCORED,
      window=Span.CHAIN, steps=("n", "exceedances")),
)  # fmt: skip
