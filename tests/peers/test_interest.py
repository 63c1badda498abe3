"""Which chains a peer keeps: those it deals with, and the devices that stand together with them."""

from __future__ import annotations

from hashlib import sha256

import pytest

from meshgen.identity import Identity
from meshgen.ledger.forks import ForkEvidence, fork_between
from meshgen.ledger.ledger import open_ledger
from meshgen.net.memory import MemoryMesh
from meshgen.peers.archivist import Archivist
from meshgen.peers.interest import DAY_MS, FRESH_MS, Interest
from meshgen.protocols.credit import ADD, Genesis, Key, make_entry, net_id

NET = net_id(b"test")
ALICE, PHONE, TABLET, STRANGER = (Identity.from_seed(bytes([number]) * 32) for number in range(4))


class Clock:
    ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


def add(device: Identity) -> Key:
    return Key(ADD, device.public_key, b"", 0, b"", 0)


async def test_devices_that_were_let_in_are_kept_and_those_that_they_let_in() -> None:
    clock = Clock()
    async with (
        open_ledger(None, ALICE, NET, now_ms=clock) as mine,
        open_ledger(None, PHONE, NET, now_ms=clock) as phones,
    ):
        interest = Interest(mine, clock)
        assert not interest.keeps(PHONE.public_key)
        await mine.append(add(PHONE))
        await phones.append(add(TABLET))
        clock.ms += FRESH_MS
        assert interest.keeps(PHONE.public_key) and not interest.keeps(TABLET.public_key)
        await mine.add(PHONE.public_key, phones.entries(PHONE.public_key, 1, 9))
        clock.ms += FRESH_MS
        assert interest.keeps(TABLET.public_key) and not interest.keeps(STRANGER.public_key)


async def test_a_device_that_joins_keeps_the_one_that_was_named_to_it() -> None:
    clock = Clock()
    async with open_ledger(None, PHONE, NET, now_ms=clock) as mine:
        interest = Interest(mine, clock, kin=frozenset((ALICE.public_key,)))
        assert interest.keeps(ALICE.public_key) and not interest.keeps(STRANGER.public_key)
        assert interest.may_add(ALICE.public_key)


async def test_a_key_that_may_recover_one_whose_log_is_kept_is_heard() -> None:
    clock, recovery = Clock(), STRANGER
    born = make_entry(
        PHONE, NET, 1, b"", 1, kind=Genesis.KIND, data=Genesis(b"", sha256(recovery.public_key).digest(), "").data()
    )
    async with open_ledger(None, ALICE, NET, now_ms=clock) as mine:
        interest = Interest(mine, clock)
        assert not interest.keeps(recovery.public_key)
        await mine.add(PHONE.public_key, [born.wire])
        assert interest.keeps(recovery.public_key) and not interest.keeps(TABLET.public_key)


def fork_of(cheat: Identity) -> ForkEvidence:
    one, other = (make_entry(cheat, NET, 1, b"", 1, kind=200, data=(number,)) for number in range(2))
    evidence = fork_between(one, other)
    assert evidence is not None
    return evidence


async def test_forks_of_unknown_keys_fill_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes up keys can prove their forks as fast as he can sign; who is known here is convicted all the same."""
    monkeypatch.setattr("meshgen.peers.interest.MAX_STRANGER_FORKS", 2)
    clock, net = Clock(), MemoryMesh()
    cheats = [Identity.from_seed(bytes([number]) * 32) for number in range(10, 15)]
    async with net.join(ALICE) as mine, open_ledger(None, ALICE, NET, now_ms=clock) as ledger:
        archivist = Archivist(mine, ledger, Interest(ledger, clock, keep_all=True))
        known = make_entry(STRANGER, NET, 1, b"", 1, kind=Genesis.KIND, data=Genesis(b"", bytes(32), "").data())
        await ledger.add(STRANGER.public_key, [known.wire])
        assert [await archivist.convict(fork_of(cheat)) for cheat in cheats] == [True, True, False, False, False]
        assert await archivist.convict(fork_of(STRANGER))
        clock.ms += DAY_MS
        assert await archivist.convict(fork_of(cheats[-1]))


async def test_nobody_is_a_stranger_to_himself() -> None:
    """A home from an old backup may lack more of its own log than is taken of a stranger's in a day."""
    clock = Clock()
    async with open_ledger(None, ALICE, NET, now_ms=clock) as mine:
        interest = Interest(mine, clock)
        for author, may in ((ALICE.public_key, True), (STRANGER.public_key, False)):
            interest.added(author, interest.stranger_entries)
            assert interest.may_add(author) == may
