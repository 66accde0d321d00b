"""Which portfolios lack something, for statements that would else look into the units of each."""

from __future__ import annotations

from typing import Final

# More are not told one by one: then most of those that are looked at lack something.
FEW_LACKING: Final = 500
MISSING: Final = "u.completed_revision < u.required_revision AND u.blocked_reason IS NULL"
# From one to the next in the index of what is missing. Of all portfolios that are due to be looked at most lack nothing, and to look for
# what is missing of each is twenty thousand pages where there are ten thousand.
LACKING: Final = f"""
    lacking (portfolio_id) AS (
        (SELECT u.portfolio_id FROM ledger.units u WHERE {MISSING} ORDER BY u.portfolio_id LIMIT 1)
        UNION ALL
        SELECT (SELECT u.portfolio_id FROM ledger.units u WHERE u.portfolio_id > l.portfolio_id AND {MISSING}
                ORDER BY u.portfolio_id LIMIT 1)
        FROM lacking l WHERE l.portfolio_id IS NOT NULL
    ), few AS MATERIALIZED (
        SELECT portfolio_id FROM lacking WHERE portfolio_id IS NOT NULL LIMIT {FEW_LACKING}
    )
"""
"""Of a `WITH RECURSIVE`."""
MAY_LACK: Final = f"((SELECT count(*) FROM few) = {FEW_LACKING} OR s.portfolio_id IN (SELECT portfolio_id FROM few))"
"""Of a row `s` of the schedule: false only where its portfolio lacks nothing."""
