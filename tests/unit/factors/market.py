"""Synthetic markets for the tests, and the shared regressors laid out for slow, independent versions."""

from dataclasses import dataclass

import numpy as np

from shared.arrays import FloatMatrix, FloatVector
from shared.market import registry

WINDOW = registry.BETA_WINDOW


@dataclass(frozen=True)
class Market:
    """T sessions of proxy and symbol returns, decimal daily."""

    proxies: FloatMatrix
    returns: FloatMatrix

    @property
    def last(self) -> int:
        return len(self.proxies) - 1

    def proxy(self, symbol: str) -> FloatVector:
        long, short = registry.proxy_legs(symbol)
        own = self.proxies[:, registry.PROXY_SYMBOLS.index(long)]
        return own if short is None else own - self.proxies[:, registry.PROXY_SYMBOLS.index(short)]

    def without(self, *symbols: str) -> "Market":
        proxies = self.proxies.copy()
        for symbol in symbols:
            proxies[:, registry.PROXY_SYMBOLS.index(symbol)] = np.nan
        return Market(proxies, self.returns)


def market(seed: int = 7, *, sessions: int = 300, symbols: int = 9, gaps: float = 0.0) -> Market:
    """Proxies that load on the market, with value and growth opposed as they are in truth; symbols that load on all."""
    rng = np.random.default_rng(seed)
    m = 0.0004 + 0.011 * rng.standard_t(5, sessions)
    proxies = m[:, None] + 0.004 * rng.standard_normal((sessions, len(registry.PROXY_SYMBOLS)))
    opposed = 0.004 * rng.standard_normal(sessions)
    for symbol, sign in (("VTV", 1.0), ("IVE", 1.0), ("VLUE", 1.0), ("VUG", -1.0), ("IVW", -1.0)):
        proxies[:, registry.PROXY_SYMBOLS.index(symbol)] += sign * opposed
    proxies[:, registry.PROXY_SYMBOLS.index("SPY")] = m
    proxies[:, registry.PROXY_SYMBOLS.index("TLT")] -= 1.2 * m
    loads = rng.normal(0.0, 0.4, (proxies.shape[1], symbols))
    returns = 0.0002 + proxies @ loads + m[:, None] + 0.015 * rng.standard_normal((sessions, symbols))
    returns[rng.random(returns.shape) < gaps] = np.nan
    return Market(proxies, returns)


def chosen(data: Market, row: int, names: dict[str, str]) -> dict[str, FloatVector]:
    """Window returns of the named proxies, by factor."""
    return {factor: data.proxy(symbol)[row - WINDOW + 1 : row + 1] for factor, symbol in names.items()}


FIRST_CHOICE = {factor.name: factor.proxies[0] for factor in registry.FACTORS} | {"value": "VTV-VUG"}
