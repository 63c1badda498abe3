"""How often one caller may ask: a bucket of tokens for each shared key and each other machine, refilled all the time."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio

BURST_S = 60.0
"""A full bucket holds what is refilled in so long."""
LOOK = 0.05
"""What asking how far a job is takes out of the bucket: clients do it every second or two, for every job."""
MAX_BUCKETS = 4096


@dataclass(slots=True)
class Bucket:
    level: float
    at_s: float


@dataclass(frozen=True, slots=True)
class TooMany:
    """An empty bucket, and after how many seconds there is something in it again."""

    per_minute: int
    retry_s: int

    @property
    def headers(self) -> Mapping[str, str]:
        limits = {"X-RateLimit-Limit": self.per_minute, "X-RateLimit-Remaining": 0, "X-RateLimit-Reset": self.retry_s}
        return {name: str(value) for name, value in ({"Retry-After": self.retry_s} | limits).items()}


class Limiter:
    def __init__(self, per_minute: int, now_s: Callable[[], float] = trio.current_time) -> None:
        """``per_minute`` 0 = no limits."""
        self._per_minute, self._now_s = per_minute, now_s
        self._buckets: dict[str, Bucket] = {}

    def take(self, who: str, cost: float = 1.0) -> TooMany | None:
        """None if there was so much in that caller's bucket."""
        if not self._per_minute:
            return None
        now = self._now_s()
        bucket = self._buckets.get(who) or self._new(who, now)
        bucket.level = min(self._full, bucket.level + (now - bucket.at_s) * self._per_second)
        bucket.at_s = now
        if bucket.level < cost:
            return TooMany(self._per_minute, math.ceil((cost - bucket.level) / self._per_second))
        bucket.level -= cost
        return None

    @property
    def _per_second(self) -> float:
        return self._per_minute / 60

    @property
    def _full(self) -> float:
        return self._per_second * BURST_S

    def _new(self, who: str, now: float) -> Bucket:
        """Where there are too many, those that would be full by now say nothing, and then the oldest go."""
        if len(self._buckets) >= MAX_BUCKETS:
            self._buckets = {name: one for name, one in self._buckets.items() if now - one.at_s < BURST_S}
        while len(self._buckets) >= MAX_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        bucket = self._buckets[who] = Bucket(self._full, now)
        return bucket


def network_of(address: str) -> str:
    """Whom an address counts as: with IPv6 everybody has 2**64 of them."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
