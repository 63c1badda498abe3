"""Words that hold until they expire or are taken back: vouches and advisories. The latest of an author on a matter counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from meshgen.protocols.credit import Advisory, Entry, Vouch


class VouchWord(NamedTuple):
    """Compared by its place in the chain; the id decides between the branches of a fork."""

    seq: int
    entry_id: bytes
    limit: int
    expires_ms: int
    """0: revoked."""


class AdvisoryWord(NamedTuple):
    seq: int
    entry_id: bytes
    advisory: Advisory


Topic = tuple[bytes, str, int, bytes]
"""(author, list, subject type, subject)"""


@dataclass(slots=True)
class Promises:
    """``add`` every valid entry, in any order; other kinds are passed over."""

    vouches: dict[tuple[bytes, bytes], VouchWord] = field(default_factory=dict)
    """(author, account) -> the latest word."""
    advisories: dict[Topic, AdvisoryWord] = field(default_factory=dict)
    _about: defaultdict[bytes, dict[Topic, None]] = field(default_factory=lambda: defaultdict(dict))  # subject -> an ordered set

    def add(self, entry: Entry) -> tuple[bytes, bytes] | None:
        """Take it in. The (author, account) whose vouch it changed, if it did."""
        match entry.content:
            case Vouch() as vouch:
                expires_ms = 0 if vouch.revoke else vouch.expires_ms
                sides, word = (entry.author, vouch.account), VouchWord(entry.seq, entry.id, vouch.limit, expires_ms)
                if word > self.vouches.get(sides, (0,)):
                    self.vouches[sides] = word
                    return sides
            case Advisory() as advisory:
                topic = (entry.author, advisory.list, advisory.subject_type, advisory.subject)
                said = AdvisoryWord(entry.seq, entry.id, advisory)
                if said[:2] > self.advisories.get(topic, (0,))[:2]:
                    self.advisories[topic] = said
                    self._about[advisory.subject][topic] = None
        return None

    def forget(self, author: bytes) -> list[tuple[bytes, bytes]]:
        """All that this author said, as it turned out to have forked. The (author, account) of its vouches."""
        self.advisories = {topic: word for topic, word in self.advisories.items() if topic[0] != author}
        gone = [sides for sides in self.vouches if sides[0] == author]
        for sides in gone:
            del self.vouches[sides]
        return gone

    def vouched(self, author: bytes, account: bytes, at_ms: int) -> int:
        """Up to how many mkudos the author answers for the account."""
        word = self.vouches.get((author, account))
        return word.limit if word and word.expires_ms > at_ms else 0

    def advice(self, followed: frozenset[bytes] | None, subject: bytes, at_ms: int) -> Iterator[tuple[bytes, AdvisoryWord]]:
        """What the followed authors say of a subject now; None: all. Never what those whom *they* follow say."""
        for topic in self._about.get(subject, ()):
            author, word = topic[0], self.advisories.get(topic)
            if word is None or (followed is not None and author not in followed):
                continue
            if not word.advisory.op and word.advisory.expires_ms > at_ms:
                yield author, word
