"""What the head of a request says of its sender."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from uuid import UUID, uuid4

from starlette.types import Scope

from services.coordinator.tokens.model import Identity, is_read
from shared.db.tenancy import Deed, Quotas, Sight

_PARAMETER = re.compile(r"\{([a-z_]+)\}")


def bearer_of(scope: Scope) -> str | None:
    """The bearer token, where exactly one is sent; what else stands in its place is a wrong one."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    scheme, _, secret = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    return bytes(secret).strip().decode("utf-8", "surrogateescape") if scheme.lower() == b"bearer" else None


def sight_of(identity: Identity, scope: Scope, path: str, *, everything: bool, quotas: Quotas) -> Sight:
    """Whose rows a request is about, and what the audit log says of it where it changes anything."""
    deed = None
    if not is_read(scope["method"], path):
        deed = Deed(uuid4(), identity.user_id, identity.token_id, scope["method"], partial(audited_path, scope))
    return Sight(identity.tenant, everything=everything, quotas=quotas, deed=deed)


def audited_path(scope: Scope) -> str:
    """The path as the audit log has it: of what stands in the place of a parameter, ids alone, because the rest may be names.

    Of a request that its route was found for.
    """
    route = scope.get("route")
    template = str(getattr(route, "path", "")) or "/"
    # What a router was included under is no part of its routes' own paths, and has no parameters.
    before = str(scope["path"]).split("/")[: -template.count("/")]
    return ("/".join(before) + fill_ids(template, scope.get("path_params", {})))[:500]


def fill_ids(template: str, values: Mapping[str, object]) -> str:
    """A route's path with the ids among its parameters, and the names of the others."""
    return _PARAMETER.sub(lambda found: _id(values.get(found[1])) or found[0], template)


def _id(value: object) -> str:
    try:
        return str(UUID(str(value)))
    except ValueError:
        return ""


def client_of(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown",))[0])
