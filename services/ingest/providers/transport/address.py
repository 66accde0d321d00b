"""Which addresses a vendor's name may lead to: public ones. Resolved once, and the connection goes to what was checked.

A name that is checked and then resolved a second time by the HTTP library may lead elsewhere the second time (DNS rebinding),
so callers connect to the address that `public_address` returns.
"""

import ipaddress
import socket
import urllib.request

from services.ingest.model.market import ProviderErrorKind
from services.ingest.providers.errors import AddressRefused, ProviderDown


def public_address(provider: str, host: str, port: int, *, allow_loopback: bool = False) -> str:
    """One address of the host. Raises `AddressRefused` if any of its addresses is not public, `ProviderDown` without one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ProviderDown(provider, f"{host} has no address: {error}", fault=ProviderErrorKind.OUTAGE) from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not allowed(address, allow_loopback=allow_loopback):
            raise AddressRefused(
                provider, f"{host} leads to {address}, which is not a public address; it was not asked"
            )
    # IPv4 first: many machines have an IPv6 address and no IPv6 route, and we try one address only.
    return min(addresses, key=lambda address: ":" in address)


def allowed(address: str, *, allow_loopback: bool = False) -> bool:
    """Whether an address is global unicast: not private, link-local (cloud metadata), loopback, shared, multicast or reserved."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.teredo is not None or ip in _NAT64_LOCAL:
            return False  # tunnels to wherever somebody set them up; no vendor is behind one
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.sixtofour is not None:
            ip = ip.sixtofour
        elif ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 1):
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.is_loopback:
        return allow_loopback
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _SPECIAL)


# What a Python that is older than their registration takes for public, and what a cloud answers on itself.
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure: the host's own services
            "192.0.0.0/24",  # protocol assignments
            "192.88.99.0/24",  # relays of 6to4
            "fec0::/10",  # site-local, long out of use
            "::ffff:0:0:0/96",  # IPv4 translated
            "100:0:0:1::/64",  # dummy prefix
            "2001:20::/28",  # identifiers, no addresses
            "3fff::/20",  # documentation
            "5f00::/16",  # segment routing
        ),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
# IPv4 in the last 32 bits, long out of use; but for `::` and `::1`, which are themselves.
_COMPATIBLE = ipaddress.ip_network("::/96")


def environment_proxy(scheme: str, host: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name for a host, if any. Who sets one trusts it."""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return None if not proxy or urllib.request.proxy_bypass(host) else proxy
