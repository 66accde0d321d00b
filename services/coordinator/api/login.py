"""Whom a call is from, whether that role may do what it asks for, and whose rows it is about."""

from __future__ import annotations

from starlette.types import Scope

from services.coordinator.api.access_rules import Access
from services.coordinator.api.heads import is_api, is_probe, names_portfolios, path_in_app, paths
from services.coordinator.api.origins import on_loopback
from services.coordinator.errors import InstallationOnly, RoleTooSmall, Unauthorised
from services.coordinator.tokens.authenticator import Authenticator
from services.coordinator.tokens.model import Identity, concerns_installation, is_wider_for_operator, role_for_call
from services.coordinator.tokens.requests import bearer_of, client_of, sight_of
from shared.db.tenancy import Sight, see
from shared.text import printable


class Login:
    """Whom a call is from, and whether that role may do what it asks for."""

    def __init__(self, access: Access, authenticator: Authenticator) -> None:
        self._access = access
        self._authenticator = authenticator

    async def admit(self, scope: Scope) -> Identity | None:
        """None where nobody has to say who it is. Raises what `Authenticator.identify` does, `RoleTooSmall` and `InstallationOnly`."""
        if (
            self._access.alone
            and not is_probe(scope)
            and not on_loopback(scope)
            and not await self._authenticator.requires_token()
        ):
            raise Unauthorised(
                "This server can be reached from beyond its own machine and has no token, so it answers nobody. "
                "Set LEADLINE_TOKEN, or LEADLINE_WITHOUT_TOKEN=true where something else authenticates callers."
            )
        if not self._access.is_protected(scope):
            return None
        found = await self._authenticator.identify(bearer_of(scope), client_of(scope))
        readings = [path for path in paths(scope) if is_api(path)] or [path_in_app(scope)]
        needed = max((role_for_call(scope["method"], path) for path in readings), key=lambda role: role.rank)
        if not found.role.includes(needed):
            raise RoleTooSmall(
                f"The token {found.name!r} is a {found.role.value}'s, and this call needs the role {needed.value}. "
                f"Nothing was done. An operator can create such a token: leadline token create --role {needed.value}."
            )
        see(self._sight(scope, found, readings))
        return found

    def _sight(self, scope: Scope, identity: Identity, readings: list[str]) -> Sight:
        """Raises `InstallationOnly`."""
        scoped = names_portfolios(scope)
        everything = any(concerns_installation(scope["method"], path, scoped=scoped) for path in readings)
        if everything and not identity.operates_installation:
            raise InstallationOnly(
                f"{scope['method']} {printable(path_in_app(scope))[:200]} concerns the whole installation, and the token is of one "
                "tenant. Nothing was done. An operator of the installation can do it."
            )
        wider = identity.operates_installation and all(is_wider_for_operator(path) for path in readings)
        quotas = self._authenticator.quotas_of(identity.tenant)
        return sight_of(identity, scope, path_in_app(scope), everything=everything or wider, quotas=quotas)
