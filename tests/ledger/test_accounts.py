"""Which keys speak for an account, and which facts decide it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from meshgen.identity import Identity
from meshgen.ledger.accounts import Accounts
from meshgen.protocols.credit import ADD, NO_HEAD, RECOVER, RETIRE, ROTATE, Content, Entry, Genesis, Head, Key, make_entry
from tests.ledger.people import NET, START_MS


def key(name: str) -> Identity:
    return Identity.from_seed(hashlib.sha256(name.encode()).digest())


def commits_to(name: str) -> bytes:
    return hashlib.sha256(key(name).public_key).digest()


@dataclass
class Family:
    """Chains by name; each commits to the key called name + "'"."""

    chains: dict[str, list[Entry]] = field(default_factory=dict)
    account: bytes = b""

    def born(self, name: str, account: bytes = b"") -> Entry:
        entry = self.write(name, Genesis(account, commits_to(name + "'"), name))
        self.account = self.account or entry.id
        return entry

    def write(self, name: str, content: Content) -> Entry:
        chain = self.chains.setdefault(name, [])
        head = chain[-1].head if chain else NO_HEAD
        entry = make_entry(key(name), NET, head.seq + 1, head.id, START_MS, kind=content.KIND, data=content.data())
        chain.append(entry)
        return entry

    def add(self, by: str, name: str, budget: int = 0) -> None:
        self.write(by, Key(ADD, key(name).public_key, b"", 0, b"", budget))

    def retire(self, by: str, name: str, at: Head) -> None:
        self.write(by, Key(RETIRE, key(name).public_key, b"", *at, 0))

    def rotate(self, name: str) -> None:
        self.write(name, Key(ROTATE, key(name + "'").public_key, commits_to(name + "''"), 0, b"", 0))
        self.born(name + "'", self.account)

    def recover(self, name: str, at: Head, by: str = "") -> None:
        by = by or name + "'"
        self.born(by, self.account)
        self.write(by, Key(RECOVER, key(name).public_key, b"", *at, 0))

    @property
    def entries(self) -> list[Entry]:
        return [entry for chain in self.chains.values() for entry in chain]

    def accounts(self) -> Accounts:
        accounts = Accounts()
        for entry in self.entries:
            accounts.add(entry)
        return accounts

    def members(self) -> set[str]:
        found = self.accounts().members(self.account)
        return {name for name in self.chains if key(name).public_key in found}


def family(*devices: str) -> Family:
    """A root that added these devices."""
    made = Family()
    made.born("root")
    for name in devices:
        made.add("root", name)
        made.born(name, made.account)
    return made


def test_a_device_needs_both_words() -> None:
    made = family("phone")
    made.born("liar", made.account)
    assert made.members() == {"root", "phone"}
    assert made.accounts().account_of(key("liar").public_key) == key("liar").public_key


def test_a_device_can_add_devices_and_budgets_are_told() -> None:
    made = family("phone")
    made.add("phone", "watch", budget=500)
    made.born("watch", made.account)
    assert made.members() == {"root", "phone", "watch"}
    watch = made.accounts().member(key("watch").public_key)
    assert watch is not None and watch.budget == 500 and not watch.retired


def test_who_stands_above_retires_and_nobody_else() -> None:
    made = family("phone", "tablet")
    made.retire("phone", "tablet", made.chains["tablet"][0].head)
    made.retire("phone", "root", made.chains["root"][0].head)
    accounts = made.accounts()
    for name in ("root", "tablet"):
        member = accounts.member(key(name).public_key)
        assert member is not None and not member.retired
    made.retire("root", "tablet", made.chains["tablet"][0].head)
    tablet = made.accounts().member(key("tablet").public_key)
    assert tablet is not None and tablet.until_seq == 1


def test_what_a_retired_device_said_afterwards_does_not_count() -> None:
    made = family("phone")
    made.add("phone", "before")
    at = made.chains["phone"][-1].head
    made.add("phone", "after")
    made.retire("root", "phone", at)
    made.born("before", made.account)
    made.born("after", made.account)
    assert made.members() == {"root", "phone", "before"}


def test_rotation_goes_on_in_the_same_line() -> None:
    made = family()
    made.rotate("root")
    made.add("root'", "phone")
    made.born("phone", made.account)
    accounts = made.accounts()
    assert made.members() == {"root", "root'", "phone"}
    successor = accounts.member(key("root'").public_key)
    assert successor is not None and successor.line == key("root").public_key


def test_recovery_shuts_out_what_a_thief_added() -> None:
    made = family("phone")
    at = made.chains["root"][-1].head
    made.add("root", "thief")
    made.born("thief", made.account)
    assert "thief" in made.members()
    made.recover("root", at)
    assert made.members() == {"root", "root'", "phone"}
    lost = made.accounts().member(key("root").public_key)
    assert lost is not None and lost.until_seq == at.seq


def test_only_the_key_that_was_committed_to_recovers() -> None:
    made = family()
    made.recover("root", made.chains["root"][0].head, by="mallory")
    assert made.members() == {"root"}


def test_two_keys_of_one_account_are_the_same_and_strangers_are_not() -> None:
    made = family("phone")
    accounts = made.accounts()
    one, other, nobody = (key(name).public_key for name in ("root", "phone", "nobody"))
    assert accounts.same(one, other) and accounts.same(nobody, nobody)
    assert not accounts.same(one, nobody)
    assert accounts.members(bytes(32)) == {} and accounts.member(nobody) is None


_names = st.sampled_from(("root", "a", "b", "c"))
_words = st.lists(
    st.tuples(st.sampled_from(("add", "retire", "rotate", "recover")), _names, _names, st.integers(1, 4)), max_size=8
)


@given(_words, st.randoms(use_true_random=False))
def test_the_order_of_facts_plays_no_part(words: list[tuple[str, str, str, int]], shuffle: object) -> None:
    made = family("a", "b")
    made.born("c", made.account)
    for verb, by, name, seq in words:
        closed = any(entry.kind == Key.KIND and entry.data[0] == ROTATE for entry in made.chains[by])
        if by == name or closed:
            continue
        if verb == "add":
            made.add(by, name)
        elif verb == "retire":
            made.retire(by, name, Head(seq, bytes(32)))
        elif verb == "rotate" and by + "'" not in made.chains:
            made.rotate(by)
        elif verb == "recover" and by + "'" not in made.chains:
            made.recover(by, Head(seq, bytes(32)))
    mixed = Accounts()
    entries = made.entries * 2
    shuffle.shuffle(entries)  # type: ignore[attr-defined]
    for entry in entries:
        mixed.add(entry)
        mixed.members(made.account)
    plain = made.accounts()
    assert mixed.members(made.account) == plain.members(made.account)
    assert next(iter(plain.members(made.account))) == key("root").public_key
