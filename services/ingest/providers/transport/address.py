"""Which addresses a vendor's name may lead to: public ones. Resolved once, and the connection goes to what was checked.

A name that is checked and then resolved a second time by the HTTP library may lead elsewhere the second time (DNS rebinding),
so callers connect to the address that `public_address` returns.
"""

import socket

from services.ingest.model.market import ProviderErrorKind
from services.ingest.providers.errors import AddressRefused, ProviderDown
from shared.network import environment_proxy, is_allowed_address

__all__ = ["environment_proxy", "is_allowed_address", "public_address"]


def public_address(provider: str, host: str, port: int, *, allow_loopback: bool = False) -> str:
    """One address of the host. Raises `AddressRefused` if any of its addresses is not public, `ProviderDown` without one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ProviderDown(provider, f"{host} has no address: {error}", fault=ProviderErrorKind.OUTAGE) from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not is_allowed_address(address, allow_loopback=allow_loopback):
            raise AddressRefused(
                provider, f"{host} leads to {address}, which is not a public address; it was not asked"
            )
    # IPv4 first: many machines have an IPv6 address and no IPv6 route, and we try one address only.
    return min(addresses, key=lambda address: ":" in address)
