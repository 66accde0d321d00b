"""An error in a line: its kind and the first line of what it says, and nothing of the statement."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError, StatementError

from shared.db.engine import create_engine, describe_error


class Refused(Exception):
    pass


def test_an_error_is_its_kind_and_its_first_line() -> None:
    assert (
        describe_error(ValueError("no price on 2020-12-30\nand a page of details"))
        == "ValueError: no price on 2020-12-30"
    )
    assert describe_error(ValueError()) == "ValueError"
    assert describe_error(ValueError("\n\n  at last ")) == "ValueError: at last"


def test_of_a_statement_that_failed_only_what_the_database_says() -> None:
    driver = Exception("<class 'asyncpg.Refused'>: no")
    driver.__cause__ = Refused("null value in column\nDETAIL: Failing row contains (secret)")
    error = IntegrityError("INSERT INTO t VALUES ($1)", {"a": "secret"}, driver)
    assert describe_error(error) == "Refused: null value in column"
    assert describe_error(StatementError("bad", "SELECT 1", {}, None)) == "StatementError: bad"


def test_a_value_that_does_not_fit_is_not_repeated() -> None:
    error = Refused("invalid input for query argument $2: 'secret' ('str' object cannot be interpreted as an integer)")
    assert describe_error(error) == "Refused: invalid input for query argument $2"


@pytest.mark.parametrize("most", [40, 200])
def test_it_is_never_longer_than_asked(most: int) -> None:
    assert len(describe_error(ValueError("x" * 1000), most)) == most


def test_engines_hide_what_is_in_parameters() -> None:
    assert create_engine("postgresql://nobody@localhost/none", application="test").sync_engine.hide_parameters
