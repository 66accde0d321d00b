"""Who a token belongs to: the server's own, or one of the table, of which a copy is kept for a moment."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from services.coordinator.errors import Refused, TooManyGuesses, Unauthorised, Unavailable
from services.coordinator.tokens import people_store, store, tenant_store
from services.coordinator.tokens.brake import Brake
from services.coordinator.tokens.model import Identity, Member, Role, Token, digest
from services.coordinator.tokens.requests import bearer_of, client_of
from shared.db.tenancy import HOUSE, NO_QUOTAS, WHOLE_INSTALLATION, Quotas, use_sight
from shared.telemetry import logger

log = logger(__name__)

# A revoked token works no longer than the copy may be old.
REFRESH_SECONDS = 2.0
MOST_STALE_SECONDS = 5.0
READ_SECONDS = 10.0
PAUSE_AFTER_FAILURE = 1.0
PROBE_SECONDS = 1.0

SERVER = Identity(Role.OPERATOR, "the server's token")
EVERYBODY = Identity(Role.OPERATOR, "no token needed")


def authenticator_of(request: Request) -> Authenticator:
    found = request.app.state.authenticator
    assert isinstance(found, Authenticator)
    return found


def identity_of(request: Request) -> Identity:
    """Whoever was let in."""
    found = getattr(request.state, "identity", EVERYBODY)
    assert isinstance(found, Identity)
    return found


@dataclass(frozen=True)
class Known:
    """What the tables say. `closed`: it has held a token, so that every call needs one, whatever became of it."""

    tokens: Mapping[bytes, Token] = field(default_factory=dict)
    closed: bool = False
    members: Mapping[tuple[UUID, UUID], Member] = field(default_factory=dict)
    """By user and tenant: those that may act."""
    quotas: Mapping[UUID, Quotas] = field(default_factory=dict)


class Authenticator:
    """read   : reads the table; called with the tokens that were used since the last time
    closed : calls need a token or a session, whether there was ever a token or not
    """

    def __init__(
        self,
        token: str | None,
        read: Callable[[frozenset[UUID]], Awaitable[Known]],
        *,
        closed: bool = False,
        brake: Brake | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = (token or "").encode() or None
        self._read = read
        self._closed = closed
        self._brake = brake or Brake()
        self._clock = clock
        self._known = Known()
        self._read_at = self._failed_at = float("-inf")
        self._used: set[UUID] = set()
        self._reading = asyncio.Lock()

    @property
    def server_has_token(self) -> bool:
        return self._token is not None

    async def requires_token(self) -> bool:
        """Whether calls need a token. Raises `Unavailable` where only the database could say, and does not."""
        return self._token is not None or self._closed or (await self._current()).closed

    async def identify(self, secret: str | None, address: str) -> Identity:
        """Whom a call is from that brought this token from that address.

        Raises `Unauthorised` where one is needed and this is none, `TooManyGuesses` where too many came that were none,
        `Unavailable` where only the database could say, and does not.
        """
        if not secret:
            if await self.requires_token():
                raise Unauthorised(
                    "This server wants a bearer token: send 'Authorization: Bearer …' once (LEADLINE_TOKEN for the CLI)."
                )
            return EVERYBODY
        given = secret.encode("utf-8", "surrogateescape")
        mark = digest(given)
        if (wait := self._brake.seconds_to_wait(address, mark)) > 0:
            raise TooManyGuesses(
                f"Too many wrong tokens came from {address}. Wait {wait:.0f} s; tokens that were right before still work.",
                retry_after=wait,
            )
        found = await self._owner(given, mark)
        if found is None:
            if not await self.requires_token():
                return EVERYBODY
            self._brake.note_wrong(address, mark)
            raise Unauthorised(
                "That bearer token is none of this server's, expired or revoked. Ask an operator for one "
                "('leadline token create'); LEADLINE_TOKEN holds it for the command line."
            )
        self._brake.note_right(address, mark)
        return found

    async def refresh_identity(self, identity: Identity) -> Identity | None:
        """A session's identity as it is now; None once its token is revoked or expired, or its user is no member or signed out."""
        if identity.token_id is None and identity.user_id is None:
            return identity
        known = await self._current()
        member = None if identity.user_id is None else known.members.get((identity.user_id, identity.tenant))
        if member is not None and identity.is_signed_out_of(member):
            return None
        if identity.token_id is None:
            if member is None or (identity.since is not None and identity.since <= member.created_at):
                # Of a membership that ended: a new invitation revives no session.
                return None
            return replace(identity, role=member.role, name=member.name)
        for token in known.tokens.values():
            if token.id == identity.token_id and _in_force(token):
                return replace(_identity(token), since=identity.since)
        return None

    def quotas_of(self, tenant: UUID) -> Quotas:
        """From the copy: whoever is let in was looked up in it."""
        return self._known.quotas.get(tenant, NO_QUOTAS)

    async def tenants_of(self, user: UUID) -> list[Member]:
        """Every tenant that a user may act for."""
        return [member for (of, _), member in (await self._current()).members.items() if of == user]

    def forget(self) -> None:
        """The table was changed here: the next call reads it."""
        self._read_at = float("-inf")

    async def _owner(self, given: bytes, mark: bytes) -> Identity | None:
        if self._token is not None and secrets.compare_digest(given, self._token):
            return SERVER
        token = (await self._current()).tokens.get(mark)
        if token is None or not _in_force(token):
            return None
        self._used.add(token.id)
        return _identity(token)

    async def _current(self) -> Known:
        if self._clock() - self._read_at < REFRESH_SECONDS:
            return self._known
        async with self._reading:
            began = self._clock()
            if began - self._read_at < REFRESH_SECONDS:
                return self._known
            try:
                if began - self._failed_at < PAUSE_AFTER_FAILURE:
                    raise TimeoutError("the last look at the table of tokens has just failed")
                async with asyncio.timeout(READ_SECONDS):
                    self._known = await self._read(frozenset(self._used))
            except (DBAPIError, PoolTimeout, OSError) as error:
                return self._stale(began, error)
            self._used.clear()
            self._read_at = began
            return self._known

    def _stale(self, now: float, error: Exception) -> Known:
        """The copy, while it is young enough; who is let in must not depend on whether the database answers."""
        if now - self._failed_at >= PAUSE_AFTER_FAILURE:
            self._failed_at = self._clock()
            log.warning("tokens_not_readable", error=str(error)[:300])
        if self._clock() - self._read_at < MOST_STALE_SECONDS:
            return self._known
        raise Unavailable("The database is not reachable, so nobody can be recognised. Nothing was changed; try again.")


def reader_of(engine: AsyncEngine, *, notes_use: bool = True) -> Callable[[frozenset[UUID]], Awaitable[Known]]:
    """notes_use : write down when a token was used; a server that only reads does not"""

    async def read(used: frozenset[UUID]) -> Known:
        # Whose token it is, is what is asked.
        with use_sight(WHOLE_INSTALLATION):
            async with engine.connect() as conn:
                known = Known(
                    await store.in_force(conn),
                    await store.was_ever_one(conn),
                    {(member.user_id, member.tenant): member for member in await people_store.active(conn)},
                    await tenant_store.quotas(conn),
                )
            if used and notes_use:
                # By itself: a database that takes no writes still lets those in who may read.
                try:
                    async with engine.begin() as conn:
                        await store.mark_used(conn, used)
                except DBAPIError as error:
                    log.warning("token_use_not_noted", error=str(error)[:300])
        return known

    return read


async def tells_details(authenticator: Authenticator, request: Request) -> bool:
    """Whether a probe of health is of the first tenant's, or no token is needed. A database that hangs makes no probe wait."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            found = await authenticator.identify(bearer_of(request.scope), client_of(request.scope))
    except (Refused, TimeoutError):
        return False
    return found.tenant == HOUSE


def _identity(token: Token) -> Identity:
    return Identity(token.role, token.name, token.id, token.tenant, token.user_id)


def _in_force(token: Token) -> bool:
    return token.expires_at is None or token.expires_at > datetime.now(UTC)
