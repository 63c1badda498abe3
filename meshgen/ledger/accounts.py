"""Which keys speak for one account: a person's or a collective's devices, each with its own key and chain.

An account is named by the id of its root's GENESIS. A key belongs to it if its own GENESIS says so *and* a member let it in: by
adding it, by rotating to it, or because it recovers a member whose GENESIS committed to it. So nobody can join an account alone,
and nobody can be joined to one.

A key and its successors by rotation and recovery stand in one *line*; a line that adds another is above it, and may retire its
keys, for good: nobody recovers them. What a key said after the entry at which it was retired or recovered does not count.

Facts come in any order, each as often as it likes; the answers depend on the set alone.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

from meshgen.protocols.codec import MAX_UINT
from meshgen.protocols.credit import ADD, RECOVER, RETIRE, ROTATE, Entry, Genesis, Key


class Said(NamedTuple):
    """What a GENESIS says."""

    account: bytes
    next_hash: bytes
    founds: bool


@dataclass(frozen=True, slots=True)
class Member:
    """A key that speaks for an account."""

    key: bytes
    line: bytes
    """The first key of its line."""
    budget: int = 0
    """The most that its line may owe, spent and held less earned; 0 = no bound."""
    until_seq: int = MAX_UINT
    """Its last entry that the account stands by."""

    @property
    def retired(self) -> bool:
        return self.until_seq < MAX_UINT


@dataclass(slots=True)
class Accounts:
    """``add`` every valid entry; kinds other than GENESIS and KEY are passed over."""

    _said: dict[bytes, Said] = field(default_factory=dict)
    _authors: defaultdict[bytes, set[bytes]] = field(default_factory=lambda: defaultdict(set))  # account -> who names it
    _words: defaultdict[bytes, set[tuple[int, Key]]] = field(default_factory=lambda: defaultdict(set))  # author -> (seq, word)
    _foreseen: set[bytes] = field(default_factory=set)  # hashes of keys
    _members: dict[bytes, dict[bytes, Member]] = field(default_factory=dict)  # account -> key -> ..., worked out when asked

    def add(self, entry: Entry) -> None:
        match entry.content:
            case Genesis() as genesis:
                said = Said(genesis.account or entry.id, genesis.next_key_hash, not genesis.account)
                self._forget(entry.author)
                self._said[entry.author] = min(said, self._said.get(entry.author, said))  # two, if it forked at its beginning
                self._authors[said.account].add(entry.author)
                self._foreseen.add(said.next_hash)
                self._forget(entry.author)
            case Key() as key:
                self._words[entry.author].add((entry.seq, key))
                self._forget(entry.author)

    def convict(self, author: bytes, seq: int) -> None:
        """It forked at ``seq``: what it said of keys from there on does not count."""
        self._words[author] = {(at, word) for at, word in self._words[author] if at < seq}
        self._forget(author)

    def _forget(self, author: bytes) -> None:
        """What was worked out of its account."""
        if said := self._said.get(author):
            self._members.pop(said.account, None)

    def account_of(self, key: bytes) -> bytes:
        """The account that this key speaks for; the key itself while no account is known to stand behind it."""
        said = self._said.get(key)
        return said.account if said and key in self.members(said.account) else key

    def members(self, account: bytes) -> dict[bytes, Member]:
        """key -> its place, the founder first; empty for an account that is not known."""
        found = self._members.get(account)
        if found is None:
            found = self._members[account] = {member.key: member for member in self._gather(account)}
        return found

    def member(self, key: bytes) -> Member | None:
        said = self._said.get(key)
        return self.members(said.account).get(key) if said else None

    def named_by(self, author: bytes) -> set[bytes]:
        """The keys that its words on accounts are about, whether or not they belong to it."""
        return {word.key for _, word in self._words.get(author, ())}

    def let_in_by(self, author: bytes) -> set[bytes]:
        """The keys that it adds or rotates to and does not retire, whether or not their own logs are known."""
        words = self._words.get(author, ())
        return {word.key for _, word in words if word.op in (ADD, ROTATE)} - {word.key for _, word in words if word.op == RETIRE}

    def commitment(self, key: bytes) -> bytes:
        """SHA-256 of the key that may recover this one; b"" if its first entry is not known."""
        said = self._said.get(key)
        return said.next_hash if said else b""

    def foresees(self, key: bytes) -> bool:
        """Has a key that is known committed to this one, which may recover it?"""
        return hashlib.sha256(key).digest() in self._foreseen

    def same(self, one: bytes, other: bytes) -> bool:
        """Do two keys speak for one account?"""
        return one == other or self.account_of(one) == self.account_of(other)

    def _gather(self, account: bytes) -> Iterator[Member]:
        """Lines from the top down: what is above has spoken before a line is heard. The first to add a line is above it."""
        founders = (
            key for key in self._authors.get(account, ()) if self._said[key].founds and self._said[key].account == account
        )
        waiting: list[tuple[bytes, int, dict[bytes, int]]] = [(key, 0, {}) for key in founders]
        seen: set[bytes] = set()
        for first, budget, retired in waiting:
            if first in seen:
                continue
            words: set[Key] = set()
            for key, until in self._line(account, first, retired):
                seen.add(key)
                words |= {word for seq, word in self._words.get(key, ()) if seq <= until}
                yield Member(key, first, budget, until)
            below = _least(retired.items(), ((word.key, word.at_seq) for word in words if word.op == RETIRE))
            added = {word.key: word.budget for word in words if word.op == ADD and self._names(word.key, account)}
            bounds = _least((word.key, word.budget) for word in words if word.op == ADD and word.budget)
            waiting += [(key, bounds.get(key, 0), below) for key in sorted(added)]

    def _line(self, account: bytes, first: bytes, retired: Mapping[bytes, int]) -> list[tuple[bytes, int]]:
        """A key and its successors, each with its last entry that counts; ``retired`` are those whom lines above have retired."""
        line = [(first, self._until(account, first, retired))]
        for key, until in line:
            found = sorted(set(self._successors(account, key, until, retired)) - {known for known, _ in line})
            line += [(successor, self._until(account, successor, retired)) for successor in found]
        return line

    def _until(self, account: bytes, key: bytes, retired: Mapping[bytes, int]) -> int:
        if key in retired:
            return retired[key]
        return min((at_seq for _, at_seq in self._recoveries(account, key)), default=MAX_UINT)

    def _successors(self, account: bytes, key: bytes, until: int, retired: Mapping[bytes, int]) -> Iterator[bytes]:
        for seq, word in self._words.get(key, ()):
            rotated = word.op == ROTATE and seq <= until and self._names(word.key, account)
            if rotated and self._said[word.key].next_hash == word.next_hash:
                yield word.key
        if key not in retired:  # whoever has a lost device may have its recovery key too
            yield from (author for author, _ in self._recoveries(account, key))

    def _recoveries(self, account: bytes, key: bytes) -> Iterator[tuple[bytes, int]]:
        """(who recovered this key, its last entry that it stands by)."""
        for author in self._authors.get(account, ()):
            if hashlib.sha256(author).digest() == self._said[key].next_hash and self._names(author, account):
                for _, word in self._words.get(author, ()):
                    if word.op == RECOVER and word.key == key:
                        yield author, word.at_seq

    def _names(self, key: bytes, account: bytes) -> bool:
        said = self._said.get(key)
        return said is not None and said.account == account


def _least(*pairs: Iterable[tuple[bytes, int]]) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for key, number in chain(*pairs):
        found[key] = min(number, found.get(key, number))
    return found
