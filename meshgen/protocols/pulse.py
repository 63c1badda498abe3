"""A sign of life between peers that are linked, and what it tells of the time: a question with a clock, an answer with two.

A connection alone proves nothing: a suspended peer stays connected. A pulse that is not answered does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshgen.protocols.codec import Limits, Malformed
from meshgen.protocols.record import Millis, Record

PROTOCOL = "/meshgen/pulse/1"
MAX_PULSE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Ping(Record):
    TAG = "ping/1"
    LIMITS = Limits(max_bytes=MAX_PULSE_BYTES)
    sent_ms: Millis
    """The asker's clock when it asks."""


@dataclass(frozen=True, slots=True)
class Pong(Record):
    TAG = "pong/1"
    LIMITS = Limits(max_bytes=MAX_PULSE_BYTES)
    sent_ms: Millis
    """As in the ping."""
    heard_ms: Millis
    """The answerer's clock when the ping came..."""
    said_ms: Millis
    """...and when the answer leaves."""

    def check(self) -> None:
        if self.said_ms < self.heard_ms:
            raise Malformed(f"{self.TAG}.said_ms: {self.said_ms}, before heard_ms")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one exchange tells, in milliseconds. ``ahead_ms`` is how far the answerer's clock is ahead of the asker's."""

    rtt_ms: int
    ahead_ms: int


def reading(pong: Pong, asked_ms: int, answered_ms: int) -> Reading:
    """By NTP's formula, from the answer and the asker's clock before and after; off by half of the rtt at most.

    Raises Malformed for an answer to another question.
    """
    if pong.sent_ms != asked_ms:
        raise Malformed(f"{pong.TAG}.sent_ms: an answer to another ping")
    away_ms = max(0, answered_ms - asked_ms)
    rtt_ms = max(0, away_ms - (pong.said_ms - pong.heard_ms))
    return Reading(rtt_ms, ((pong.heard_ms - asked_ms) + (pong.said_ms - asked_ms - away_ms)) // 2)


VECTOR_DECODERS: dict[str, Callable[[bytes], object]] = {"ping": Ping.decode, "pong": Pong.decode}
