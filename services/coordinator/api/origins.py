"""Where a request came from and what host it calls, read from its headers and its connection."""

from __future__ import annotations

import ipaddress
import re

from starlette.types import Scope

HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]/@\s]+)(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<host>[^/]+)")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def on_loopback(scope: Scope) -> bool:
    """Whether the connection came in on an address of the loopback. A socket file and a test's transport have no address."""
    try:
        return ipaddress.ip_address(str((scope.get("server") or ("",))[0])).is_loopback
    except ValueError:
        return True


def is_nobodys(name: str) -> bool:
    """Whether a host's name is an address, or one without a dot as a container has: none that a stranger can own and let point here."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return bool(name) and name.isascii() and name.replace("-", "").isalnum()
    return True


def is_own(origin: str, hosts: list[str]) -> bool:
    """Whether a page of that origin came from the host that is called. The scheme may differ: TLS can end at a proxy."""
    page = _ORIGIN.fullmatch(origin)
    if page is None or len(hosts) != 1:
        return False
    there, here = HOST.fullmatch(page["host"]), HOST.fullmatch(hosts[0])
    if there is None or here is None:
        return False
    port = _DEFAULT_PORTS[page["scheme"]]
    return (there["name"].lower(), there["port"] or port) == (here["name"].lower(), here["port"] or port)
