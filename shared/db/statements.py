"""Statements of SQL that are sent again and again: what SQLAlchemy makes of a text is made once."""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import TextClause, text

# Texts are put together from our own constants, so there are as many as places that ask; a place that makes them up goes round.
MOST = 512


@lru_cache(maxsize=MOST)
def statement(sql: str) -> TextClause:
    """As `text` makes it, with what is found out about it for executing it. Not to be changed: others have the same."""
    return text(sql)
