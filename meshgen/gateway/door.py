"""Who may go where: the table of :mod:`meshgen.gateway.guard`, and by what it knows the caller."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from starlette.types import Scope

from meshgen.gateway.callers import OWNER, Caller
from meshgen.gateway.horde.faults import PREFIX
from meshgen.gateway.keys import KeyRing
from meshgen.gateway.limits import Limiter
from meshgen.gateway.origin import Visit, host_name, is_ip, is_loopback
from meshgen.gateway.session import Sessions, cookie_of

READS = ("GET", "HEAD", "OPTIONS")
BEARER = "Bearer "
SESSION_PATH = "/session"
METRICS_PATH = "/metrics"
OPENAI = (("POST", "/v1/images/generations"), ("GET", "/v1/models"))


def needs_owner(method: str, path: str) -> bool:
    """False for what everybody may have, or asks for a key of its own."""
    if path.startswith(PREFIX) or path == SESSION_PATH:
        return False
    return method not in READS or path.startswith("/v1")


def may(caller: Caller | None, method: str, path: str) -> bool:
    return caller is not None and (caller.kind == "owner" or (method, path) in OPENAI)


@dataclass(frozen=True, slots=True)
class Door:
    """By which rules the guard lets in. ``names`` are those that people reach this node by; with ``lan`` any IP address is one,
    as no page can pass itself off as that."""

    token: str = field(repr=False)
    keys: KeyRing
    sessions: Sessions
    limiter: Limiter
    names: frozenset[str] = frozenset()
    lan: bool = False
    metrics: bool = False
    """May other machines read them without a key?"""

    def asks_owner(self, visit: Visit) -> bool:
        if visit.path == METRICS_PATH:
            return not (visit.local or self.metrics)
        return needs_owner(visit.method, visit.path)

    def is_own_host(self, host: str) -> bool:
        """``host`` is a Host header, with or without a port."""
        name = host_name(host)
        return name == "localhost" or name in self.names or is_loopback(name) or (self.lan and is_ip(name))

    def caller(self, visit: Visit, scope: Scope) -> Caller | None:
        """Who shows a key or a session. Under AI Horde's API nobody has to."""
        if visit.path.startswith(PREFIX):
            key = visit.headers.get("apikey", "")
            return self.keys.caller(key, local=visit.local) if key else None
        shown = visit.headers.get("authorization", "")
        if shown.startswith(BEARER):
            key = shown.removeprefix(BEARER)
            is_token = hmac.compare_digest(key.encode(), self.token.encode())
            return OWNER if is_token else self.keys.caller(key, local=visit.local)
        cookies = "" if visit.foreign else visit.headers.get("cookie", "")
        return OWNER if cookies and self.sessions.holds(cookie_of(scope, cookies)) else None
