"""The graph of accounts, kept up step by step, is what a look at the whole log would make it."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from meshgen.identity import Identity
from meshgen.ledger.neighbourhood import Neighbourhood
from meshgen.protocols.credit import ADD, RETIRE, Entry, Genesis, Key, Vouch
from tests.ledger.known import Known
from tests.ledger.people import Author, author

OWNERS = 3
STEP_MS = 1000

_person = st.integers(0, 2 * OWNERS - 1)
_steps = st.lists(
    st.tuples(
        st.sampled_from(("work", "work", "add", "retire", "vouch", "revoke", "ask", "ask", "meet", "convict")),
        _person,
        _person,
        st.integers(1, 100),
    ),
    max_size=30,
)


def devices() -> list[Author]:
    """Owners, and for each a device that names its account; nobody has added any yet."""
    owners = [author(number) for number in range(OWNERS)]
    for number in range(OWNERS):
        device = Author(Identity.from_seed(bytes([number + 1]) * 32))
        device.write(Genesis(owners[number].entries[0].id, bytes(32), "device"))
        owners.append(device)
    return owners


class Story:
    """Steps of anybody, told to a log that is asked now and then."""

    def __init__(self) -> None:
        self.people = devices()
        self.known = Known(self.people[0])
        self.met = {0}

    def step(self, verb: str, a: int, b: int, amount: int) -> None:
        one, other = self.people[a], self.people[b]
        owner = self.people[a % OWNERS]
        match verb:
            case "work" if a != b:
                self.known.works(one, other, amount)
            case "add" | "retire":
                self.say(owner, self._word(verb, self.people[a % OWNERS + OWNERS]))
            case "vouch" | "revoke" if a % OWNERS != b % OWNERS:
                account = self.people[b % OWNERS].entries[0].id
                expires_ms = self.known.now_ms + amount * STEP_MS
                self.say(one, Vouch(account, amount, expires_ms, int(verb == "revoke")))
            case "ask":
                self.known.now_ms += amount * STEP_MS
                self.known.standings.neighbourhood.update(self.known.now_ms)
            case "convict":
                self.silence(one.key, amount % 5 + 1)
            case "meet" if a not in self.met:
                self.met.add(a)
                self.known.take(one.entries[0])

    def say(self, who: Author, content: Key | Vouch) -> Entry:
        entry = who.write(content, self.known.now_ms)
        self.known.take(entry)
        return entry

    def silence(self, author: bytes, seq: int) -> None:
        """It forked at ``seq``: what it said besides payments counts up to there."""
        known = self.known
        known.accounts.convict(author, seq)
        gone = known.promises.forget(author)
        for entry in known.entries:
            if entry.author == author and entry.seq < seq:
                known.promises.add(entry)
        known.standings.joining(author)
        for vouch in gone:
            known.standings.vouching(*vouch)

    @staticmethod
    def _word(verb: str, device: Author) -> Key:
        if verb == "add":
            return Key(ADD, device.key, b"", 0, b"", 0)
        return Key(RETIRE, device.key, b"", device.head.seq, device.head.id, 0)


@given(_steps)
def test_step_by_step_as_at_once(steps: list[tuple[str, int, int, int]]) -> None:
    story = Story()
    for step in steps:
        story.step(*step)
    known = story.known
    grown = known.standings.neighbourhood
    fresh = Neighbourhood(known.me.key, known.books.edges, known.promises.vouches, known.accounts)
    sliced = Neighbourhood(known.me.key, known.books.edges, known.promises.vouches, known.accounts)
    while sliced.behind:
        sliced.update(known.now_ms, 2)
    for around in (grown, fresh):
        around.update(known.now_ms)
    keys = [person.key for person in story.people]
    dealt = {key for pair in known.books.edges for key in pair}
    for around in (grown, sliced):
        assert {key: around.node(key) for key in dealt} == {key: fresh.node(key) for key in dealt}
        assert around.me == fresh.me
        for pair in permutations(keys, 2):
            assert around.graph.left(*pair) == fresh.graph.left(*pair), pair
