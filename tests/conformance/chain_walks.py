"""Random walks over the rules of a chain: entries that often may stand and often just may not."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any

from meshgen.identity import Identity
from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.rules import Chain
from meshgen.protocols.codec import Malformed, Value
from meshgen.protocols.credit import (
    MAX_HOLD_MS,
    MAX_PROMISE_MS,
    Advisory,
    Bill,
    CharterEntry,
    Checkpoint,
    Claim,
    Consent,
    Entry,
    Genesis,
    Hold,
    Key,
    Proof,
    Receipt,
    Release,
    Transfer,
    Vouch,
    Voucher,
    Witness,
    make_entry,
)
from meshgen.protocols.credit.entry import Content
from meshgen.protocols.credit.kinds import Cosig

NET = bytes(range(16))
START_MS = 1_789_000_000_000
AUTHOR, *OTHERS = PEOPLE = tuple(Identity.from_seed(bytes([number]) * 32) for number in range(1, 5))
IDS = tuple(hashlib.sha256(bytes([number])).digest() for number in range(3))


class Walk:
    """One author's chain as far as it stands; ``step`` tries to go on."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.chain = Chain(NET, AUTHOR.public_key)
        self.stood: list[Entry] = []

    def step(self) -> tuple[Entry, bool]:
        """(the entry that was tried, whether it stands)."""
        entry = self._entry()
        try:
            self.chain.append(entry)
        except InvalidEntry:
            return entry, False
        self.stood.append(entry)
        return entry, True

    def _entry(self) -> Entry:
        head, rng = self.chain.head, self.rng
        seq = head.seq + rng.choices((1, 2), (60, 1))[0]
        prev = rng.choices((head.id, IDS[0]), (60, 1))[0] if seq > 1 else b""
        ts_ms = max(self.chain.ts_ms, START_MS) + rng.choices((0, 1, MAX_HOLD_MS, -1), (20, 20, 5, 1))[0]
        author = rng.choices((AUTHOR, OTHERS[0]), (80, 1))[0]
        net = rng.choices((NET, IDS[0][:16]), (80, 1))[0]
        kind, data = self._content(ts_ms)
        return make_entry(author, net, seq, prev, ts_ms, kind=kind, data=data)

    def _content(self, ts_ms: int) -> tuple[int, tuple[Value, ...]]:
        if self.rng.random() < (0.95 if not self.stood else 0.01):
            return Genesis.KIND, self._genesis().data()
        makers: tuple[Callable[[], Content | None], ...] = (
            lambda: self._hold(ts_ms), lambda: self._hold(ts_ms), self._receipt, self._receipt, self._release, self._release,
            self._claim, self._transfer, lambda: self._vouch(ts_ms), lambda: self._advisory(ts_ms), self._key, self._checkpoint,
            self._proof, self._charter, lambda: None,
        )  # fmt: skip
        content = self.rng.choice(makers)()
        if isinstance(content, Content):
            return content.KIND, content.data()
        return self.rng.choice((5, 15, 200)), (self.rng.randrange(9),)

    def _hold_of_this_chain(self) -> tuple[bytes, Hold]:
        holds = [(entry.id, entry.content) for entry in self.stood if isinstance(entry.content, Hold)]
        unheard = (IDS[1], Hold(IDS[0], OTHERS[0].public_key, 5, START_MS + 9, 1, IDS[0]))
        return self.rng.choice(holds) if holds and self.rng.random() < 0.95 else unheard

    def _person(self, mostly: bytes) -> Identity:
        """Whose key ``mostly`` is, or anybody."""
        owner = next(person for person in PEOPLE if person.public_key == mostly)
        return owner if self.rng.random() < 0.8 else self.rng.choice(PEOPLE)

    def _expiry(self, ts_ms: int, longest: int) -> int:
        return ts_ms + self.rng.choices((0, 1, longest, longest + 1), (1, 5, 5, 1))[0]

    def _genesis(self) -> Genesis:
        next_key = self.rng.choice(OTHERS).public_key
        return Genesis(self.rng.choice((b"", IDS[0])), hashlib.sha256(next_key).digest(), "")

    def _hold(self, ts_ms: int) -> Hold:
        payee = self.rng.choices(PEOPLE, (1, 5, 5, 5))[0].public_key
        return Hold(IDS[0], payee, self.rng.randrange(4), self._expiry(ts_ms, MAX_HOLD_MS), 1, IDS[2])

    def _receipt(self) -> Receipt:
        hold_id, hold = self._hold_of_this_chain()
        amount = max(0, hold.amount - self.rng.choices((0, 1, -1), (5, 5, 1))[0])
        payee = self._person(hold.payee)
        billed = amount + self.rng.choices((0, 1), (9, 1))[0]
        bill = Bill(NET, IDS[0], hold_id, AUTHOR.public_key, payee.public_key, billed, IDS[1]).sign(payee)
        job = self.rng.choices((hold.job, IDS[2]), (9, 1))[0]
        return Receipt(job, hold_id, payee.public_key, amount, IDS[1], 1, bill.sig)

    def _release(self) -> Release:
        hold_id, hold = self._hold_of_this_chain()
        payee = self._person(hold.payee)
        consent = Consent(NET, hold_id, AUTHOR.public_key, payee.public_key).sign(payee)
        return Release(hold_id, 0, self.rng.choice((b"", consent.sig)))

    def _claim(self) -> Claim:
        payer, hold_id, amount = self.rng.choice(PEOPLE), self.rng.choice(IDS), self.rng.randrange(4)
        signed = amount + self.rng.choices((0, 1), (9, 1))[0]
        voucher = Voucher(NET, hold_id, payer.public_key, AUTHOR.public_key, signed).sign(payer)
        return Claim(hold_id, self.rng.randint(1, 3), payer.public_key, amount, voucher.sig, IDS[1])

    def _transfer(self) -> Transfer:
        return Transfer(self.rng.choice(PEOPLE).public_key, self.rng.randrange(3), 0, b"")

    def _vouch(self, ts_ms: int) -> Vouch:
        own = self.chain.account or IDS[1]
        return Vouch(self.rng.choice((IDS[0], IDS[1], own)), 1, self._expiry(ts_ms, MAX_PROMISE_MS), self.rng.randrange(2))

    def _advisory(self, ts_ms: int) -> Advisory:
        return Advisory("a", 0, 0, IDS[0], "", 0, self._expiry(ts_ms, MAX_PROMISE_MS), b"")

    def _key(self) -> Key:
        rng, op = self.rng, self.rng.choice((0, 0, 1, 1, 2, 3, 4))
        next_hash = IDS[0] if (op == 2) == (rng.random() < 0.8) else b""
        at = rng.random() < (0.8 if op in {1, 3} else 0.1)
        at_seq, at_id = (1 if at == (rng.random() < 0.9) else 0), (IDS[0] if at else b"")
        budget = rng.randrange(2) if op == 0 else rng.choices((0, 1), (9, 1))[0]
        return Key(op, rng.choices(PEOPLE, (1, 4, 4, 4))[0].public_key, next_hash, at_seq, at_id, budget)

    def _checkpoint(self) -> Checkpoint:
        upto = max(1, self.chain.head.seq + self.rng.choices((0, -1, 1), (5, 5, 1))[0])
        people = self.rng.sample(PEOPLE[1:] if self.rng.random() < 0.8 else PEOPLE, self.rng.randint(0, 3))
        people.sort(key=lambda person: person.public_key, reverse=self.rng.random() < 0.1)
        witnesses = [
            Witness(NET, AUTHOR.public_key, upto, IDS[0], 1, 2, 3, IDS[1], person.public_key).sign(person) for person in people
        ]
        held = self.rng.choices((3, 4), (9, 1))[0]
        return Checkpoint(upto, IDS[0], 1, 2, held, IDS[1], tuple(Cosig(note.witness, note.sig) for note in witnesses))

    def _proof(self) -> Proof:
        one, other = (self._forked() for _ in range(2))
        if self.rng.random() < 0.8:
            one, other = sorted((one, other), key=lambda entry: entry.id)
        sig = self.rng.choices((other.sig, one.sig), (9, 1))[0]
        return Proof(self.rng.choices((0, 1), (9, 1))[0], one.body, one.sig, other.body, sig)

    def _forked(self) -> Entry:
        net, seq = self.rng.choices((NET, IDS[0][:16]), (9, 1))[0], self.rng.choices((2, 3), (9, 1))[0]
        return make_entry(OTHERS[0], net, seq, IDS[0], self.rng.randrange(50), kind=200, data=())

    def _charter(self) -> CharterEntry:
        return CharterEntry(IDS[0], self.rng.randrange(2), self.rng.choice((b"", IDS[1])))


def walks(rng: random.Random, steps: int) -> Iterator[dict[str, Any]]:
    """Chains as ``chains/`` holds them: each step that may not stand ends an invalid one, each walk at its end is a valid one."""
    walk = Walk(rng)
    for _ in range(steps):
        try:
            entry, stands = walk.step()
        except Malformed:
            continue  # what the rules of encoding keep out is another test's
        if not stands:
            yield _chain([*walk.stood, entry], {"seq": entry.seq, "error": "may not stand"})
        elif walk.chain.closed:
            break
    if walk.stood:
        yield _chain(walk.stood, {"expect": {"id": walk.chain.head.id.hex()}})


def _chain(entries: list[Entry], told: dict[str, Any]) -> dict[str, Any]:
    wires = [entry.wire.hex() for entry in entries]
    head = {"name": "walk", "protocol": "credit", "entries": wires, "net": NET.hex(), "author": AUTHOR.public_key.hex()}
    return head | told
