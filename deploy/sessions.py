"""`python -m deploy.sessions` writes down the sessions that the installed library of exchange calendars computes, for
`shared/market/exchange_sessions.py`, up to the day that the exchange has announced."""

from __future__ import annotations

import json
import sys

from shared.market.calendar import ANNOUNCED_UNTIL
from shared.market.exchange_sessions import TABLE, from_library, table_of


def main() -> int:
    table = table_of(from_library(ANNOUNCED_UNTIL), ANNOUNCED_UNTIL)
    TABLE.write_text(json.dumps(table, indent=1) + "\n")
    sys.stdout.write(f"wrote {TABLE}: {table['library']}, until {table['last']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
