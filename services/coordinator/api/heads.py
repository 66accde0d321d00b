"""What the head of a request asks for: its path as a proxy left it and as the router sees it, and which kind of path that is."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.types import Scope

PROTECTED = "/api"
# A probe calls a container by whatever address it has; nothing can be changed by these.
METRICS = "/metrics"
PROBED = frozenset({"/livez", "/readyz", METRICS})


def headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def path_in_app(scope: Scope) -> str:
    """The path without what a proxy put before it, as the router sees it."""
    path, root = str(scope["path"]), str(scope.get("root_path", "")).rstrip("/")
    return path[len(root) :] if root and path.startswith(root + "/") else path


def names_portfolios(scope: Scope) -> bool:
    # As the router reads it; of bytes the library takes nothing but ASCII.
    query = scope.get("query_string", b"").decode("latin-1")
    return any(name == "portfolio_id" for name, _ in parse_qsl(query, keep_blank_values=True))


def is_probe(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") and path_in_app(scope) in PROBED


def is_api(path: str) -> bool:
    return path == PROTECTED or path.startswith(PROTECTED + "/")


def paths(scope: Scope) -> tuple[str, str]:
    return str(scope["path"]), path_in_app(scope)
