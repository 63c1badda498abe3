"""Buckets of tokens, by a clock that the test moves."""

from __future__ import annotations

import pytest

from meshgen.gateway.limits import LOOK, MAX_BUCKETS, Limiter, network_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills() -> None:
    clock = Clock()
    limiter = Limiter(60, clock)
    assert [limiter.take("a") for _ in range(60)] == [None] * 60
    refused = limiter.take("a")
    assert refused is not None and refused.retry_s == 1
    assert refused.headers == {
        "Retry-After": "1",
        "X-RateLimit-Limit": "60",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1",
    }
    assert limiter.take("b") is None
    clock.now += 1
    assert limiter.take("a") is None and limiter.take("a") is not None
    clock.now += 3600
    assert [limiter.take("a") for _ in range(61)].count(None) == 60


def test_looking_costs_little() -> None:
    limiter = Limiter(60, Clock())
    assert [limiter.take("a", LOOK) for _ in range(1300)].count(None) in (1199, 1200)


def test_no_limit() -> None:
    assert not any(Limiter(0, Clock()).take("a") for _ in range(10_000))


def test_buckets_are_bounded() -> None:
    clock = Clock()
    limiter = Limiter(1, clock)
    for number in range(MAX_BUCKETS + 100):
        clock.now += 0.001
        assert limiter.take(str(number)) is None
    assert len(limiter._buckets) <= MAX_BUCKETS
    assert limiter.take(str(MAX_BUCKETS + 99)) is not None
    clock.now += 3600
    limiter.take("later")
    assert len(limiter._buckets) == 1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
def test_whom_an_address_counts_as(address: str, network: str) -> None:
    assert network_of(address) == network
