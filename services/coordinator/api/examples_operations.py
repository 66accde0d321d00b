"""Examples of what operators read: what failed, what waits for a decision, and who may call."""

from __future__ import annotations

from typing import Any, Final

from shared.events.topics import PRICES_INGESTED

_ID: Final = "0198c0de-0000-7000-8000-000000000001"
_AT: Final = "2020-12-30T21:15:00+00:00"
_LETTER: Final = {
    "id": 7,
    "consumer": "leadline-factors",
    "topic": PRICES_INGESTED,
    "partition": 0,
    "offset": 1204,
    "headers": {"ce_type": "PricesIngestd"},
    "body": "{}",
    "reason": "unknown_type",
    "error": "unknown message type 'PricesIngestd'",
    "received_at": _AT,
    "replayed_at": None,
    "replay_event_id": None,
    "edited_at": None,
    "resolved_at": None,
    "purged_at": None,
}
_HELD: Final = {
    "symbol": "JPM",
    "session": "2020-12-29",
    "provider": "yahoo",
    "return": 0.91,
    "sigma": 0.012,
    "second": None,
    "second_return": None,
    "found_at": _AT,
    "state": "held",
    "priced": False,
    "decided_by": None,
    "decided_at": None,
    "reason": None,
    "retry_at": None,
}

OPERATIONS: Final[dict[str, dict[str, Any]]] = {
    "DeadLetter": _LETTER,
    "DeadLetters": {"items": [_LETTER], "next": None},
    "ManySettled": {"dry_run": True, "replayed": [7], "refused": [], "more": False},
    "Purged": {"id": 7, "purged": True},
    "Replayed": {"id": 7, "replayed": True, "sent": True, "event_id": _ID},
    "HeldPrice": _HELD,
    "HeldPrices": {"items": [_HELD], "next": None},
    "TokenMade": {
        "id": _ID,
        "token": "leadline_…",
        "name": "nightly report",
        "role": "reader",
        "state": "active",
        "created_at": _AT,
        "expires_at": "2028-01-01T00:00:00+00:00",
        "last_used_at": None,
        "revoked_at": None,
        "user_id": _ID,
        "tenant_id": "00000000-0000-4000-8000-000000000001",
    },
    "Liveness": {"live": True, "problems": []},
    "Readiness": {"ready": True, "checks": {"database": "ok", "consumers": "ok", "broker": "ok"}},
}
