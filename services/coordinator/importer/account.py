"""The portfolio's own fields: name, account type, currency, equity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from services.coordinator.importer import cells
from services.coordinator.importer.model import Issues

ACCOUNT_TYPES = ("taxable", "ira", "roth_ira", "401k", "403b", "529", "hsa", "trust", "other")
MAX_NAME = 255
MAX_EQUITY = Decimal(10) ** 12
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Account:
    """A checked portfolio header. `equity_balance` is the capital before the first session, all of it cash then."""

    name: str
    account_type: str
    currency: str
    equity_balance: Decimal


def name(text: str, issues: Issues) -> str:
    text = text.strip()
    if not text:
        issues.error(None, "name", "ERR_PORT_002", "The portfolio has no name. Give it one.")
    elif len(text) > MAX_NAME:
        issues.error(
            None, "name", "ERR_PORT_003", f"The name has {len(text)} characters; at most {MAX_NAME} are kept.", text
        )
    else:
        cells.words(text, None, "name", issues, lines=False)
    return text


def equity(text: str, issues: Issues) -> Decimal:
    text = text.strip()
    if not text:
        issues.error(
            None,
            "equity_balance",
            "ERR_PORT_004",
            "equity_balance is missing. Give the capital before the first trade.",
        )
        return Decimal(0)
    value = cells.number(text)
    if value is None:
        issues.error(
            None, "equity_balance", "ERR_PORT_005",
            f"equity_balance {text!r} is not a number. Write digits alone, with a point in decimals, such as 50000.", text,
        )  # fmt: skip
        return Decimal(0)
    if value <= 0:
        issues.error(
            None,
            "equity_balance",
            "ERR_PORT_006",
            f"equity_balance {text} must be above zero: it pays for the lots.",
            text,
        )
    elif value > MAX_EQUITY:
        issues.error(
            None,
            "equity_balance",
            "ERR_PORT_007",
            f"equity_balance {text} is beyond {MAX_EQUITY:,f}. Check its unit.",
            text,
        )
    elif cells.decimals(value) > 4:
        issues.error(
            None, "equity_balance", "ERR_PORT_011", f"equity_balance {text} has over 4 decimals. Round it.", text
        )
    return value


def account_type(text: str, issues: Issues) -> str:
    kind = text.strip().lower() or "taxable"
    if kind not in ACCOUNT_TYPES:
        issues.error(
            None, "account_type", "ERR_PORT_009", f"account_type {text!r} is none of {', '.join(ACCOUNT_TYPES)}.", text
        )
    return kind


def currency(text: str, issues: Issues) -> str:
    code = text.strip().upper() or "USD"
    if not _CURRENCY.fullmatch(code):
        issues.error(
            None, "currency", "ERR_PORT_010", f"currency {text!r} is not a three-letter code such as USD.", text
        )
    return code


def check(*, name_: str, equity_: str, type_: str, currency_: str, issues: Issues) -> Account:
    """All four at once; the result is only good while `issues` holds no error."""
    return Account(
        name=name(name_, issues),
        account_type=account_type(type_, issues),
        currency=currency(currency_, issues),
        equity_balance=equity(equity_, issues),
    )
