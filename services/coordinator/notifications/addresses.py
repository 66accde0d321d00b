"""Where a webhook may lead: public addresses by https, and the server's own machine. Resolved once; the connection goes to that."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from urllib.parse import urlsplit

from services.coordinator.errors import Invalid
from shared.network import is_allowed_address

MOST = 2_000
# Names under which every machine finds itself (RFC 6761).
_NAMES_THIS_MACHINE = re.compile(r"(^|\.)localhost\.?$")


def check_url(url: str, *, private: bool, loopback: bool = True) -> str:
    """The URL as it is kept. Raises `Invalid`, which names what is wrong with it.

    private  : http, and addresses of one's own network, are allowed (LEADLINE_WEBHOOK_PRIVATE)
    loopback : whether it may lead to this machine without that: what listens here is of whoever operates the installation
    """
    found = url.strip()
    try:
        parts = urlsplit(found)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _invalid(url, "It is not a URL.") from None
    if parts.scheme not in ("https", "http") or not host or port == 0 or not found.isascii() or len(found) > MOST:
        raise _invalid(url, "Give a URL such as https://example.org/leadline.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _invalid(url, "Leave name, password and #fragment out of it; messages are signed.")
    if host != "localhost" and not private and _NAMES_THIS_MACHINE.search(host):
        raise _invalid(url, "Only localhost and 127.0.0.1 are this machine's names here.")
    if not (private or loopback) and is_loopback(host):
        raise _invalid(url, "The server's own machine is its operators' alone. Give a public address by https.")
    if parts.scheme == "http" and not (private or is_loopback(host)):
        raise _invalid(
            url, "Only https is sent to; http to this machine alone (127.0.0.1), or with LEADLINE_WEBHOOK_PRIVATE."
        )
    literal = _literal(host)
    if literal is not None and not (private or is_allowed_address(literal, allow_loopback=loopback)):
        raise _invalid(
            url, f"{host} is not a public address. LEADLINE_WEBHOOK_PRIVATE allows those of one's own network."
        )
    return found


def is_loopback(host: str) -> bool:
    literal = _literal(host)
    return host == "localhost" if literal is None else ipaddress.ip_address(literal).is_loopback


async def resolve(host: str, port: int, *, private: bool, loopback: bool = True) -> str:
    """The address to connect to. Raises `OSError` without one, `PermissionError` where any of the host's is not allowed.

    loopback : as of `check_url`

    A name that leads to this machine is refused unless it is `localhost`: what is sent there, its owner decides.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not private and not is_allowed_address(address, allow_loopback=loopback and is_loopback(host)):
            raise PermissionError(f"{host} leads to {address}, which is not a public address; nothing was sent")
    return min(addresses, key=lambda address: ":" in address)


def _literal(host: str) -> str | None:
    """The address that a host is, as resolvers read it: `127.1`, `0x7f000001` and `2130706433` are 127.0.0.1."""
    bare = host.split("%", 1)[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(bare))
    except OSError:
        return None


def _invalid(url: str, message: str) -> Invalid:
    return Invalid(
        f"A webhook cannot lead to {url.strip()[:100]!r}. {message}",
        errors=[{"row": None, "column": "url", "code": "bad_url", "message": message, "value": url[:100]}],
    )
