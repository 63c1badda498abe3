"""Where a request comes from: this machine or another, the node's own page or a stranger's."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import Scope

OWN_FETCHES = ("", "same-origin", "none")
"""What a browser says of a request that no other site's page caused; other programs say nothing."""
HANDED_ON = frozenset(
    (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"cf-connecting-ip")
)
"""By one of these a proxy gives itself away."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A request as the guard sees it, before any of its body."""

    method: str
    path: str
    headers: Headers
    foreign: bool
    """Caused by another site's page."""
    local: bool
    """Made on this machine, by no foreign page."""
    address: str

    @classmethod
    def of(cls, scope: Scope) -> Visit:
        headers = Headers(scope=scope)
        foreign = is_foreign_page(headers)
        local = not foreign and is_local(scope)
        return cls(scope["method"], scope["path"], headers, foreign, local, address_of(scope))


def is_foreign_page(headers: Headers) -> bool:
    """Did another site's page cause it? A browser says so, and no page can keep it from that."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "") not in OWN_FETCHES
    return origin.removeprefix("https://").removeprefix("http://") != headers.get("host") or "://" not in origin


def is_from_here(headers: Headers) -> bool:
    """Does the page come from a server on this machine? No other page can say so: browsers write the origin."""
    name = host_name(headers.get("origin", "").partition("://")[2])
    return name == "localhost" or is_loopback(name)


def is_local(scope: Scope) -> bool:
    """Was it made on this machine? Not if a proxy says that it hands on another's."""
    if any(name in HANDED_ON for name, _ in scope["headers"]):
        return False
    return is_loopback(address_of(scope))


def address_of(scope: Scope) -> str:
    """The other end's IP address; empty where there is none, e.g. on a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""


@lru_cache(maxsize=1024)
def is_loopback(address: str) -> bool:
    """An IPv4 address may come in IPv6's clothes, where one socket serves both."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def host_name(host: str) -> str:
    """A Host header without its port and an IPv6 address's brackets, in small letters."""
    return (host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]).lower()


def is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
