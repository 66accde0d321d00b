"""Sessions of the page, one-time codes, and sign-ins that are under way: what of them this process keeps, and how much of it at most."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from services.coordinator.tokens.authenticator import SERVER
from services.coordinator.tokens.model import Identity
from services.coordinator.tokens.openid import Attempt

SESSION_SECONDS = 30 * 86_400.0
CODE_SECONDS = 120.0
ATTEMPT_SECONDS = 600.0
# Who has more signs out their own oldest, never anybody else's. A browser that is turned away signs in again.
MOST_OF_ONE = 100
MOST_OF_TENANT = 10_000
# Browsers keep no cookie of more than 4,096 bytes, its name and attributes included.
MOST_SEALED = 3_800
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
K = TypeVar("K")


@dataclass
class Sessions:
    """Only digests of sessions and codes are held: what is read out of memory signs nobody in.

    Of sign-ins that were begun at a provider nothing is held, as anybody may begin them: the browser keeps what one must come back
    with, sealed by a key of this process.
    """

    until: dict[str, tuple[float, Identity]] = field(default_factory=dict)
    codes: dict[str, float] = field(default_factory=dict)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    # Digests, oldest first, by whose they are: an account or the server's own token, and its tenant.
    _of_one: dict[tuple[UUID, UUID | None], dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    _of_tenant: dict[UUID, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    def begin(self, identity: Identity = SERVER) -> str:
        session = secrets.token_urlsafe(32)
        # The database has a clock of its own: a session is never older than what its member was looked up as.
        identity = replace(identity, since=max(datetime.now(UTC), identity.since or _LONG_AGO))
        for held, most in (
            (self._of_one[_owner(identity)], MOST_OF_ONE),
            (self._of_tenant[identity.tenant], MOST_OF_TENANT),
        ):
            while len(held) >= most:
                self._drop(next(iter(held)))
        mark = _digest(session)
        self.until[mark] = (time.monotonic() + SESSION_SECONDS, identity)
        self._of_one[_owner(identity)][mark] = self._of_tenant[identity.tenant][mark] = None
        return session

    def find_identity(self, session: str) -> Identity | None:
        mark = _digest(session)
        until, identity = self.until.get(mark, (0.0, None))
        if until > time.monotonic():
            return identity
        self._drop(mark)
        return None

    def end(self, session: str) -> None:
        self._drop(_digest(session))

    def issue_code(self) -> str:
        """A code that signs one browser in, once, within two minutes."""
        code = secrets.token_urlsafe(24)
        self.codes[_digest(code)] = time.monotonic() + CODE_SECONDS
        return code

    def redeem(self, code: str) -> bool:
        return self.codes.pop(_digest(code), 0.0) > time.monotonic()

    def seal(self, attempt: Attempt) -> str:
        """A sign-in that was begun, as this browser's cookie keeps it for a few minutes; its address to go on to is left out where
        the cookie would be too long."""
        sealed = self._seal(attempt)
        return sealed if len(sealed) <= MOST_SEALED else self._seal(replace(attempt, go_on="/"))

    def unseal(self, sealed: str) -> Attempt | None:
        """The sign-in of a cookie; None for one that was not sealed here, or too long ago."""
        body, _, mark = sealed.partition(".")
        if not hmac.compare_digest(mark.encode("utf-8", "surrogateescape"), self._mark(body).encode()):
            return None
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return Attempt(**found["attempt"]) if found["until"] > time.monotonic() else None

    def _seal(self, attempt: Attempt) -> str:
        document = {"attempt": asdict(attempt), "until": time.monotonic() + ATTEMPT_SECONDS}
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        # Of the characters that a cookie may hold as they are.
        body = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        return f"{body}.{self._mark(body)}"

    def _mark(self, body: str) -> str:
        return hmac.new(self._key, body.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    def _drop(self, mark: str) -> None:
        _until, identity = self.until.pop(mark, (0.0, None))
        if identity is None:
            return
        _take(self._of_one, _owner(identity), mark)
        _take(self._of_tenant, identity.tenant, mark)


def _take(held: dict[K, dict[str, None]], key: K, mark: str) -> None:
    held[key].pop(mark, None)
    if not held[key]:
        del held[key]


def _owner(identity: Identity) -> tuple[UUID, UUID | None]:
    """A token is of an account; without one it stands for itself."""
    return identity.tenant, identity.user_id or identity.token_id


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
