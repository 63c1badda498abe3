"""Which chains a peer keeps: those it deals with, and the devices that stand together with them."""

from __future__ import annotations

from meshgen.identity import Identity
from meshgen.ledger.ledger import open_ledger
from meshgen.peers.interest import FRESH_MS, Interest
from meshgen.protocols.credit import ADD, Key, net_id

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
