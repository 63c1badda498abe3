"""Random but valid histories of a small mesh, as a Hypothesis strategy."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from meshgen.protocols.credit import Entry, Hold
from tests.ledger.people import START_MS, Author, author, claim, receipt, release

PEOPLE = 4
STEP_MS = 1000
LIFETIME_MS = 5 * STEP_MS


@dataclass
class World:
    """Applies what a step asks for where it is possible, and nothing where it is not."""

    people: list[Author] = field(default_factory=lambda: [author(number) for number in range(PEOPLE)])
    holds: list[Entry] = field(default_factory=list)
    closed: set[bytes] = field(default_factory=set)
    claimed: dict[bytes, int] = field(default_factory=dict)
    now_ms: int = START_MS

    def step(self, verb: str, a: int, b: int, amount: int) -> None:
        self.now_ms += STEP_MS
        if verb == "hold":
            self._hold(self.people[a], self.people[b], amount)
        elif self.holds:
            self._about(verb, self.holds[(a + 7 * b) % len(self.holds)], amount)

    def _hold(self, payer: Author, payee: Author, amount: int) -> None:
        if payer is not payee:
            expires_ms = self.now_ms + LIFETIME_MS
            self.holds.append(payer.hold(payee, amount, len(self.holds), expires_ms, self.now_ms))

    def _about(self, verb: str, hold: Entry, amount: int) -> None:
        terms = Hold.from_entry(hold)
        payer, payee = self._by_key(hold.author), self._by_key(terms.payee)
        if verb == "claim":
            if amount > self.claimed.get(hold.id, -1):
                self.claimed[hold.id] = amount
                payee.write(claim(payer, hold, amount), self.now_ms)
            return
        if hold.id in self.closed:
            return
        if verb == "receipt":
            payer.write(receipt(payee, hold, min(amount, terms.amount)), self.now_ms)
        elif verb == "consent":
            payer.write(release(hold, payee), self.now_ms)
        elif self.now_ms >= terms.expires_ms:
            payer.write(release(hold), self.now_ms)
        else:
            return
        self.closed.add(hold.id)

    def _by_key(self, key: bytes) -> Author:
        return next(person for person in self.people if person.key == key)

    @property
    def entries(self) -> list[Entry]:
        return [entry for person in self.people for entry in person.entries]


_person = st.integers(0, PEOPLE - 1)
_verbs = st.sampled_from(("hold", "hold", "receipt", "claim", "release", "consent"))
_steps = st.lists(st.tuples(_verbs, _person, _person, st.integers(0, 2000)), max_size=25)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World()
    for step in draw(_steps):
        world.step(*step)
    return world
