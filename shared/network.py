"""Which addresses of the network are public, and which proxy the environment names. Pure but for the environment."""

from __future__ import annotations

import ipaddress
import urllib.request


def is_allowed_address(address: str, *, allow_loopback: bool = False) -> bool:
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
