from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.market.symbols import SYNTHETIC, Occ, SymbolKind, classify, normalise, occ_symbol, parse_occ


@pytest.mark.parametrize(
    "symbol", ["EQIX", "EQT", "EQR", "EQH", "EQNR", "F", "FOXA", "FO", "^GSPC", "BRK.B", "CASH", "AAPL"]
)
def test_listed_names_that_look_like_private_ones_are_public(symbol: str) -> None:
    assert classify(symbol) is SymbolKind.PUBLIC
    assert classify(symbol, "PUBLIC") is SymbolKind.PUBLIC


@pytest.mark.parametrize("symbol", [*sorted(SYNTHETIC), "FO_X", "fo_x", "EQ_ANYTHING", "EQ5D6A2D8F", "CASH_USD"])
@pytest.mark.parametrize("stated", [None, "", "PUBLIC", "PRIVATE"])
def test_synthetic_names_are_private_whatever_was_stated(symbol: str, stated: str | None) -> None:
    assert classify(symbol, stated) is SymbolKind.PRIVATE


@pytest.mark.parametrize("symbol", ["AAPL_US_EQ", "BRK_B", "MY_HOUSE"])
def test_an_underscore_alone_makes_nothing_private(symbol: str) -> None:
    assert classify(symbol) is SymbolKind.PUBLIC
    assert classify(symbol, "PUBLIC") is SymbolKind.PUBLIC
    assert classify(symbol, "PRIVATE") is SymbolKind.PRIVATE


@pytest.mark.parametrize(
    "symbol", ["AAPL200117C00300000", "AAPL  200117C00300000", "O:AAPL200117C00300000", "aapl200117p00300000"]
)
def test_an_expired_contract_is_still_an_option(symbol: str) -> None:
    assert classify(symbol) is SymbolKind.OPTION
    assert classify(symbol, "PUBLIC") is SymbolKind.OPTION


def test_what_was_stated_decides_where_no_pattern_does() -> None:
    assert classify("AAPL", "OPTIONS") is SymbolKind.OPTION
    assert classify("AAPL", " private ") is SymbolKind.PRIVATE
    assert classify("AAPL200117C00300000", "PRIVATE") is SymbolKind.PRIVATE


@pytest.mark.parametrize("text", ["BRK.B", "brk-b", " BRK/B ", "Brk B"])
def test_spellings_of_a_share_class_are_one_symbol(text: str) -> None:
    assert normalise(text) == "BRK.B"


@pytest.mark.parametrize("text", ["BTC-USD", "^GSPC", "BF.PR.A", "HOME_EQUITY", "AAPL"])
def test_other_names_keep_their_punctuation(text: str) -> None:
    assert normalise(text.lower()) == text


def test_parts_of_a_contract() -> None:
    assert parse_occ("SPY240315P00450500") == Occ("SPY", date(2024, 3, 15), "PUT", Decimal("450.5"))
    assert parse_occ("AAPL1200117C00300000") == Occ("AAPL", date(2020, 1, 17), "CALL", Decimal(300))
    assert parse_occ("SPY241315P00450500") is None, "there is no thirteenth month"
    assert parse_occ("SPY") is None


@given(
    root=st.from_regex(r"[A-Z]{1,5}", fullmatch=True),
    expiration=st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    option_type=st.sampled_from(["CALL", "PUT"]),
    thousandths=st.integers(1, 10**8 - 1),
)
def test_a_contract_survives_its_symbol(root: str, expiration: date, option_type: str, thousandths: int) -> None:
    strike = Decimal(thousandths) / 1000
    symbol = occ_symbol(root, expiration, option_type, strike)
    assert parse_occ(symbol) == Occ(root, expiration, option_type, strike)
    assert normalise(symbol) == symbol
    assert classify(symbol) is SymbolKind.OPTION


@pytest.mark.parametrize(
    ("option_type", "strike"), [("CALL", "0"), ("CALL", "1.2345"), ("STRADDLE", "10"), ("PUT", "100000")]
)
def test_a_contract_without_occ_form_is_refused(option_type: str, strike: str) -> None:
    with pytest.raises(ValueError, match=r"OCC|CALL"):
        occ_symbol("SPY", date(2024, 3, 15), option_type, Decimal(strike))


@given(st.text(max_size=25))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert classify(text) is classify(once)
