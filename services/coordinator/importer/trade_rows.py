"""What a row of a broker's list of trades is: which kind of trade, or what instead of one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from services.coordinator.importer import cells, special_rows
from services.coordinator.importer.model import OPTIONS
from services.coordinator.importer.presets import ADDING, KINDS, Preset
from services.coordinator.importer.reading import Layout, Record

# Money that moves between an account and its fund of cash is counted in shares, too.
_MONEY = re.compile(r"\b(?:sweeps?|core|money ?market|in lieu|interest|tax|fees?|dividend|cash)\b", re.IGNORECASE)
# Currencies that an account is kept in, of which none is a ticker: not every code there is (ALL is Allstate).
_MONEY_FUND = re.compile(
    r"[A-Z]{3}XX\**|F?CASH|QACDS|[$€£¥]|USD|EUR|GBP|GBX|CHF|JPY|CAD|AUD|NZD|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|BGN|TRY|ILS|ZAR|CNY|CNH|HKD"
    r"|TWD|KRW|SGD|INR|IDR|MYR|THB|PHP|MXN|BRL|CLP|COP|AED|SAR|QAR|KWD"
)


def lacks_shares(kind: str, got: Mapping[str, str]) -> str:
    """Why a row that should bring shares brings none, or one that should not may; '' where there is no doubt."""
    quantity = got.get("quantity", "")
    if kind in ADDING and quantity.startswith("-"):
        return (
            "it takes shares away (a reverse split): the price source's splits count. If it lists none, write a sale of the shares of "
            "before and a purchase of those of after, both at what they were worth"
        )
    shares = cells.number(quantity)
    if kind in ADDING and not shares:
        return "it names no number of shares that came. Give the quantity that was added"
    if kind == "dividend" and shares and not any(cells.number(got.get(column, "")) for column in ("amount", "price")):
        return (
            f"it is a dividend of {quantity} shares without an amount of money. If the shares were received, write the action receive; "
            "if it was paid in money, give the amount"
        )
    return ""


def moved_shares(got: Mapping[str, str]) -> str:
    """Why a row that the layout takes for money is none: a transfer of shares from or to another account; '' where it is money."""
    shares, symbol = cells.number(got.get("quantity", "")), got.get("symbol", "")
    told = f"{got.get('action', '')} {got.get('name', '')}"
    if not shares or not symbol or _MONEY.search(told) or _MONEY_FUND.fullmatch(symbol.upper()):
        return ""
    moved = f"{got.get('action') or 'it'!r} moves {abs(shares):f} shares of {symbol} without a price"
    if shares < 0:
        return f"{moved}. If they left the portfolio, write a sale of them (sell) on that day, at what they were worth"
    return (
        f"{moved}. If they came into the portfolio, write a purchase (buy) with what they cost, or receive if they came for nothing; if "
        "they left it, a sale (sell) at what they were worth"
    )


def not_a_trade(row: Sequence[str], record: Record, layout: Layout) -> str | None:
    """What a row is instead of a trade."""
    preset, got = layout.preset, record.cells
    assert preset is not None
    if preset.classes and preset.of_class(got.get("type", "")) == "":
        return f"{got['type']}: money"
    filled = sum(bool(got.get(column)) for column in ("date", "quantity", "price", "symbol"))
    # The date is what every trade has: totals and footers begin with words there.
    first = got.get("symbol", "") if got.get("date") else ""
    return special_rows.reason(row, first, preset, filled)


def kind_of(got: dict[str, str], layout: Layout) -> str | None:
    preset = layout.preset
    assert preset is not None
    if preset.actions and "action" in layout.where:
        word = got.get("action", "").strip()
        # In our own words too, as messages ask for them.
        kind = preset.action(word) or (word.lower() if word.lower() in KINDS else None)
        if kind in ADDING and not got.get("quantity") and got.get("amount"):
            # Funds distribute money, too.
            kind = "dividend"
    elif preset.signed:
        kind = "sell" if got.get("quantity", "").startswith("-") else "buy"
    else:
        return None
    codes = codes_of(got)
    if kind == "sell" and "O" in codes and "C" not in codes:
        return "short"
    if kind == "buy" and "C" in codes:
        return "cover"
    if kind == "sell" and "EP" in codes:
        return "expire"
    return kind


def codes_of(got: Mapping[str, str]) -> frozenset[str]:
    """What the broker says a fill does: O opens, C closes; one that goes through zero does both."""
    return frozenset(code.strip().upper() for code in got.get("open_close", "").replace(",", ";").split(";"))


def is_of_option(kind: str, got: dict[str, str], preset: Preset) -> bool:
    """Whether a row trades an option, whatever its symbol: taken for the share it would be a hundredth of its money."""
    action = got.get("action", "").strip()
    return (
        kind == "expire"
        or any(only.fullmatch(action) for only in preset.options_only)
        or preset.of_class(got.get("type", "")) == OPTIONS
    )
