"""Honest peers, each a real ledger on a disk in memory, and one cheat: what the state machine steers."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import trio

from meshgen.identity import Identity
from meshgen.ledger.errors import Fork, Gap
from meshgen.ledger.fold import NOTHING, Balance, Edge, balances, edge_of, gather, gifts
from meshgen.ledger.ledger import HoldInfo, Ledger, open_ledger
from meshgen.ledger.store import Disk
from meshgen.protocols.credit import Bill, Claim, Content, Entry, Receipt, Voucher, decode_entry
from tests.ledger.people import NET, RESULT, Author

T = TypeVar("T")


class Loop:
    """A trio loop in a thread of its own, so that one ledger lives through many synchronous steps."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), daemon=True)
        self._thread.start()
        self._ready.wait()

    async def _main(self) -> None:
        self._token, self._end = trio.lowlevel.current_trio_token(), trio.Event()
        self._ready.set()
        await self._end.wait()

    def __call__(self, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        return trio.from_thread.run(call, *arguments, trio_token=self._token)

    def close(self) -> None:
        trio.from_thread.run_sync(self._end.set, trio_token=self._token)
        self._thread.join()


class Crash(BaseException):
    """The process is killed here."""


@lru_cache(maxsize=10_000)
def decoded(wire: bytes) -> Entry:
    return decode_entry(wire, verify=False)


@dataclass
class Job:
    """One job as both sides remember it."""

    hold: Entry
    payer: Node | Cheat
    payee: Node
    sent: int = 0
    bill: Bill | None = None
    voucher: Voucher | None = None
    consented: bool = False

    @property
    def promised(self) -> int:
        return self.voucher.amount if self.voucher else 0

    def receipt(self) -> Receipt:
        assert self.bill is not None
        note = self.bill
        return Receipt(note.job, note.hold_id, note.payee, note.amount, note.result, self.sent, note.sig)

    def claim(self) -> Claim:
        assert self.voucher is not None
        note = self.voucher
        return Claim(note.hold_id, self.hold.seq, note.payer, note.amount, note.sig, RESULT)

    def seen(self) -> HoldInfo | None:
        """As the worker's log shows it."""
        return self.payee.ledger.hold_info(self.hold.id, self.hold.author, self.hold.seq)


@dataclass
class Node:
    """An honest peer: it acts through its ledger alone, whose disk outlives it."""

    loop: Loop
    identity: Identity
    clock: Callable[[], int]
    disk: Disk = field(default_factory=Disk)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    @property
    def key(self) -> bytes:
        return self.identity.public_key

    @property
    def author(self) -> Author:
        """The same person, for the notes that it signs."""
        return Author(self.identity)

    def start(self) -> None:
        self._opened = open_ledger(self.disk, self.identity, NET, now_ms=self.clock)
        self.ledger = self.loop(self._opened.__aenter__)

    def stop(self) -> None:
        self.loop(self._opened.__aexit__, None, None, None)

    def append(self, content: Content) -> Entry:
        return self.loop(self.ledger.append, content)

    def take(self, key: bytes, wires: list[bytes]) -> bool:
        """False if a fork came to light, or was known."""
        try:
            self.loop(self.ledger.add, key, wires)
        except Fork:
            return False
        except Gap:
            pass
        return True

    def entries(self) -> list[Entry]:
        """All that it holds, of both branches of whoever forked."""
        ledger = self.ledger
        main = [wire for key, head in ledger.heads() for wire in ledger.entries(key, 1, head.seq)]
        more = [wire for fork in ledger.forks() for wire in ledger.branch(fork.author)]
        return [decoded(wire) for wire in dict.fromkeys((*main, *more))]

    def pull(self, other: Node, key: bytes, upto: int) -> None:
        self.take(key, other.ledger.entries(key, 1, upto))

    def hear_proofs(self, other: Node) -> None:
        """Proofs and branches that another holds."""
        for fork in other.ledger.forks():
            self.loop(self.ledger.convict, fork)
            self.loop(self.ledger.add_branch, fork.author, other.ledger.branch(fork.author))


@dataclass
class Cheat:
    """Signs what it likes, in two histories that part where it first lies."""

    branches: list[Author]

    @property
    def key(self) -> bytes:
        return self.branches[0].key


def summed(entries: list[Entry], ledger: Ledger) -> tuple[dict[bytes, Balance], dict[tuple[bytes, bytes], Edge]]:
    """Balances and edges by the reference."""
    deals = gather(entries, ledger.forks())
    edges: defaultdict[tuple[bytes, bytes], Edge] = defaultdict(Edge)
    for deal in deals.values():
        if deal.terms:
            edges[deal.terms.payer, deal.terms.payee] = edges[deal.terms.payer, deal.terms.payee].plus(edge_of(deal))
    return _without(balances(deals, gifts(entries)), NOTHING), _without(edges, Edge())


def booked(ledger: Ledger) -> tuple[dict[bytes, Balance], dict[tuple[bytes, bytes], Edge]]:
    """What the ledger says."""
    return _without(ledger.balances(), NOTHING), _without(ledger.edges(), Edge())


def _without(sums: Any, nothing: Any) -> Any:
    return {key: value for key, value in sums.items() if value != nothing}
