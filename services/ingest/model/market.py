"""What every provider answers: daily bars, corporate actions and a profile, or a typed reason why not.

Providers deliver what their source says, in its own adjustment; converting is the workflow's work, so that there is one
conversion however many vendors there are. Calls block: the workflow runs them in a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from math import inf
from typing import Literal

from shared.arrays import DateVector, FloatVector
from shared.market.reasons import ReasonCode
from shared.text import printable


class NoDataReason(StrEnum):
    """Why there is no price. The first four pass by themselves; the others are what the source knows."""

    RATE_LIMITED = ReasonCode.RATE_LIMITED.value
    PROVIDER_DOWN = ReasonCode.PROVIDER_DOWN.value
    LATE = ReasonCode.LATE.value
    QUARANTINED = ReasonCode.QUARANTINED.value
    NOT_FOUND = ReasonCode.NOT_FOUND.value
    AMBIGUOUS = ReasonCode.AMBIGUOUS.value
    DELISTED = ReasonCode.DELISTED.value
    NOT_YET_LISTED = ReasonCode.NOT_YET_LISTED.value
    NO_TRADE = ReasonCode.NO_TRADE.value
    FOREIGN_CURRENCY = ReasonCode.FOREIGN_CURRENCY.value
    PLAN_LIMIT = ReasonCode.PLAN_LIMIT.value

    @property
    def transient(self) -> bool:
        return self in {
            NoDataReason.RATE_LIMITED, NoDataReason.PROVIDER_DOWN, NoDataReason.LATE, NoDataReason.QUARANTINED
        }  # fmt: skip


class ProviderErrorKind(StrEnum):
    """What went wrong between us and a vendor: finer than an `NoDataReason`, for people, alarms and the circuit breaker."""

    RATE_LIMITED = "rate_limited"
    TIMEOUT = "timeout"
    OUTAGE = "outage"  # 5xx, no connection, no address
    BAD_BODY = "bad_body"  # truncated, HTML, too large: an answer nobody can read
    SCHEMA_CHANGED = "schema_changed"
    REFUSED_ADDRESS = "refused_address"
    AUTH = "auth"
    PLAN = "plan_limit"  # the key is good, the plan does not cover the question
    PROFILES_REFUSED = "profiles_refused"  # of profiles and statements alone: prices are served
    BAD_SYMBOL = "bad_symbol"  # never asked: no vendor spells anything so

    @property
    def permanent(self) -> bool:
        """Asking again changes nothing; somebody has to act."""
        return self in {
            ProviderErrorKind.SCHEMA_CHANGED,
            ProviderErrorKind.REFUSED_ADDRESS,
            ProviderErrorKind.AUTH,
            ProviderErrorKind.PLAN,
        }


def _make_printable(of: object, *fields: str) -> None:
    """Words of a vendor or a file without what acts on a terminal: nobody can be asked to mend them, and they are shown."""
    for name in fields:
        words = getattr(of, name)
        if words is not None and (shown := printable(words)) != words:
            object.__setattr__(of, name, shown.strip() or None)


@dataclass(frozen=True, slots=True)
class Listing:
    """One security a vendor knows, as a search tells it. `symbol` is in our spelling."""

    symbol: str
    name: str | None = None
    exchange: str | None = None
    asset_type: str = "unknown"
    currency: str | None = None

    def __post_init__(self) -> None:
        _make_printable(self, "name", "exchange", "currency")


@dataclass(frozen=True, slots=True)
class Rename:
    """From `on` the security trades as `new`; before it, as `old`."""

    old: str
    new: str
    on: date


@dataclass(frozen=True, slots=True)
class Request:
    """One symbol over the sessions [first, last]. A provider serves nothing dated after `last`, whatever it has.

    formerly : what the security was called before, oldest first, for vendors that file prices under the symbol of the day;
               others have the whole history under the newest.
    chosen   : the user has said that this is the security, so that a vendor's other ideas are no question any more.
    split_adjusted : asked of a source again that has bars as traded and no lists of actions: its bars adjusted for splits.
    """

    symbol: str
    first: date
    last: date
    formerly: tuple[Rename, ...] = ()
    chosen: bool = False
    split_adjusted: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """Daily bars as delivered: aligned arrays of shape (n,), sessions ascending and distinct, NaN where the source has no value.

    Every row has a close or an adjusted close. With `split_adjusted` open, high, low, close and volume stand on the basis of
    the newest split the source applied; otherwise they are as traded. `adj_close` is adjusted for dividends too.
    """

    sessions: DateVector
    open: FloatVector
    high: FloatVector
    low: FloatVector
    close: FloatVector
    adj_close: FloatVector
    volume: FloatVector
    split_adjusted: bool


@dataclass(frozen=True, slots=True)
class Action:
    """A split (new shares per old) or a cash dividend (per share, as paid on the shares of that day). Vendors': see `actions`.

    Raises `ValueError` for a value by which nothing can be multiplied or divided.
    """

    ex_date: date
    type: Literal["split", "dividend"]
    value: float

    def __post_init__(self) -> None:
        if not 0 < self.value < inf:
            raise ValueError(f"a {self.type} of {self.value} on {self.ex_date} can not be")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A payment a vendor lists in another currency than `CURRENCY`: nothing is converted, so it is no `Action`.

    It may be in the vendor's adjusted closes all the same.
    """

    ex_date: date
    value: float
    currency: str


@dataclass(frozen=True, slots=True)
class Unserved:
    """Days [first, last] of a question that the source did not answer about although it knows the symbol, and when it may."""

    first: date
    last: date
    reason: NoDataReason
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """beta is the vendor's own, of the day `beta_as_of`; ours is computed and never mixed with it."""

    asset_type: str = "unknown"
    name: str | None = None
    sector: str | None = None
    industry: str | None = None
    as_of: date | None = None
    beta: float | None = None
    beta_as_of: date | None = None
    currency: str | None = None
    exchange: str | None = None

    def __post_init__(self) -> None:
        _make_printable(self, "name", "sector", "industry", "currency", "exchange")


@dataclass(frozen=True, slots=True)
class History:
    """The source knows the symbol. Bars may be fewer than asked for, or none. Prices and dividends are in `CURRENCY`.

    actions      : everything listed, before, within and after the range: a conversion needs the later splits too.
    lists_splits : whether a split of this symbol would be among the actions. Without it prices stay as delivered.
    listed_from  : session of the first bar the source has, whatever was asked.
    delisted_on  : the day of a dated announcement. A series that merely ends says nothing.
    renamed      : what became of a symbol whose series ends within the range.
    left_out     : payments in another currency, which are not among the actions.
    unserved     : days of the question that the plan or the hour kept from being asked about.
    actions_refused : the plan has prices and no lists of actions, or none of dividends; another source may have them.
    actions_from    : whose actions these are, if they are not the source's own.
    """

    symbol: str
    bars: Bars
    actions: tuple[Action, ...] = ()
    lists_splits: bool = False
    profile: Profile | None = None
    listed_from: date | None = None
    delisted_on: date | None = None
    renamed: Rename | None = None
    left_out: tuple[LeftOut, ...] = ()
    unserved: tuple[Unserved, ...] = ()
    actions_refused: bool = False
    actions_from: str | None = None


@dataclass(frozen=True, slots=True)
class NoData:
    """The source has nothing at all, for a reason. `retry_at` is when asking again makes sense, if ever.

    fault      : set where the reason lies with the source and not with the symbol.
    detail     : one sentence for people. Never holds a key.
    candidates : for `ambiguous`, what the symbol may mean; the user is asked.
    renamed    : for `not_found`, where the source says what became of the symbol.
    """

    symbol: str
    reason: NoDataReason
    retry_at: datetime | None = None
    fault: ProviderErrorKind | None = None
    detail: str | None = None
    candidates: tuple[Listing, ...] = ()
    renamed: Rename | None = None


Answer = History | NoData

# Nothing is converted: what is priced in anything else (pence too: GBp, GBX) has no price here.
CURRENCY = "USD"

# Vendors list an action days after it took effect, too. Those of so many days before a range are listed with it.
LISTED_LATE = timedelta(days=45)


@dataclass(frozen=True, slots=True)
class ProviderSeries:
    """Bars of one provider, one vintage."""

    provider: str
    history: History

    @property
    def actions_by(self) -> str:
        """Whose actions are in it."""
        return self.history.actions_from or self.provider


@dataclass(frozen=True, slots=True)
class ChainResult:
    """What the chain found out about one request. Whoever cuts or holds back something of it makes another one.

    parts    : at most one a provider, over disjoint sessions but for the session both ends of a return need.
    absent   : the reason where a session has no bar and no `History` explains it; None if one does.
    retry_at : when asking again may help, for transient reasons.
    asked    : names of all who were asked, in order.
    candidates : what a provider without bars said the symbol may mean.
    renamed    : what a provider without bars, or whose bars end early, said it has become.
    broken     : who could not be asked until somebody acts, while others told what they know.
    undecided  : for a price that is held back, whether somebody who has not answered yet may still confirm it. If not, nothing is
                 waited for: the holding goes without, with that remark, until a person decides or a source corrects itself.
    """

    request: Request
    parts: Sequence[ProviderSeries] = field(default_factory=list)
    absent: NoDataReason | None = None
    retry_at: datetime | None = None
    asked: tuple[str, ...] = ()
    candidates: tuple[Listing, ...] = ()
    renamed: Rename | None = None
    broken: tuple[str, ...] = ()
    undecided: bool = False

    def __post_init__(self) -> None:
        # A list of its own: whoever made it may go on with theirs.
        object.__setattr__(self, "parts", list(self.parts))

    @property
    def listed_from(self) -> date | None:
        """The first bar any of the sources has."""
        known = [part.history.listed_from for part in self.parts if part.history.listed_from]
        return min(known, default=None)

    @property
    def delisted_on(self) -> date | None:
        return next((part.history.delisted_on for part in self.parts if part.history.delisted_on), None)
