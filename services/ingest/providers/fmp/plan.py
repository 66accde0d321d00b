"""What FMP's free plan serves: a published list of symbols. Learnt from a refusal, and trusted for a day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from services.ingest.providers.errors import PlanLimited, ProviderError
from services.ingest.providers.transport.refusals import comparable
from shared.market.symbols import normalise

# As of October 2025. A symbol that has joined since is asked for with the first refusal of a day, at the latest after a month.
_LIST = (
    "AAL AAPL ABBV ADBE AMD AMZN ATVI BA BABA BAC BIDU BILI C CARR CCL COIN COST CPRX CSCO CVX DAL DIS DOCU ET ETSY F FDX FUBO "
    "GE GM GOOGL GS HCA HOOD INTC JNJ JPM KO LCID LMT META MGM MRNA MRO MSFT NFLX NIO NKE NOK NVDA PEP PFE PINS PLTR PYPL RBLX "
    "RIOT RIVN RKT ROKU SBUX SHOP SIRI SNAP SOFI SONY SPY SPYG SQ T TGT TLRY TSLA TSM TWTR UAL UBER UNH V VIAC VWO VZ WBA WFC "
    "WMT XOM ZM"
)
FREE = frozenset(_LIST.split())
# In every plan but the free one. Other plans leave out listings abroad or funds, with the same words.
PROBE = "IBM"


class Plan:
    """One a key.

    ask : a question of one call about a symbol; raises what the vendor refuses it with
    """

    def __init__(self, provider: str, ask: Callable[[str], None], today: Callable[[], date]) -> None:
        self._provider = provider
        self._ask = ask
        self._today = today
        self._learnt: tuple[date, str | None] | None = None

    def check(self, symbol: str) -> None:
        """Raises `PlanLimited` for what the free plan does not serve, once it is known that the key has that plan."""
        said = self._refusal_of_today()
        if said is not None and normalise(symbol) not in FREE:
            raise PlanLimited(
                self._provider, f"not asked, the plan serves {len(FREE)} symbols and not this one: {said}"
            )

    def learn(self, symbol: str, refused: PlanLimited) -> None:
        """After a refusal: is it the free plan's? One call a day, about a symbol that any other plan serves."""
        known = self._learnt is not None and self._learnt[0] == self._today()
        if known or "'symbol'" not in comparable(str(refused)) or normalise(symbol) in FREE:
            return
        said = str(refused).removeprefix(f"{self._provider}: ")
        try:
            if normalise(symbol) != PROBE:
                self._ask(PROBE)
                self._learnt = self._today(), None
                return
        except PlanLimited:
            pass
        except ProviderError:
            return  # it is down, or has no more calls: not known yet
        self._learnt = self._today(), said

    def _refusal_of_today(self) -> str | None:
        return self._learnt[1] if self._learnt is not None and self._learnt[0] == self._today() else None
