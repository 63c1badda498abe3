"""Chains to measure with: many authors, each holding and paying for jobs of others, as a busy mesh writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from meshgen.identity import Identity
from meshgen.protocols.codec import Value, encode_trusted
from meshgen.protocols.credit import GENESIS, HOLD, MAX_RANGE_ENTRIES, RECEIPT, Bill, entry_id, net_id

NET = net_id(b"meshgen-bench-v0")
START_MS = 1_789_000_000_000
PRICE = 5000
ENTRY_SIG_DOMAIN = b"meshgen/credit/entry-sig/v1\0"


@dataclass(frozen=True, slots=True)
class Written:
    """One author's chain."""

    author: bytes
    wires: list[bytes]

    def ranges(self) -> Iterator[list[bytes]]:
        for start in range(0, len(self.wires), MAX_RANGE_ENTRIES):
            yield self.wires[start : start + MAX_RANGE_ENTRIES]


def person(number: int) -> Identity:
    return Identity.from_seed(hashlib.sha256(b"bench %d" % number).digest())


def write_chain(number: int, length: int, people: int, signed: bool = True) -> Written:
    """GENESIS, then HOLD and RECEIPT in turn, each for another payee. ``signed=False``: only the last of each range is."""
    me, payees = person(number), [person((number + step) % people) for step in range(1, min(people, 17))]
    wires, prev, hold = list[bytes](), b"", b""
    data: tuple[Value, ...]
    for seq in range(1, length + 1):
        payee, job = payees[seq // 2 % len(payees)], hashlib.sha256(b"job %d %d" % (number, seq // 2)).digest()
        sign = signed or seq == length or seq % MAX_RANGE_ENTRIES == 0
        if seq == 1:
            kind, data = GENESIS, (b"", hashlib.sha256(job).digest(), "bench")
        elif seq % 2 == 0:
            kind, data = HOLD, (job, payee.public_key, PRICE, START_MS + seq + 3_600_000, 1 + seq // 3, job)
        else:
            sig = _bill(payee, me.public_key, job, hold) if signed else bytes(64)
            kind, data = RECEIPT, (job, hold, payee.public_key, PRICE, job, 1, sig)
        body = encode_trusted((1, NET, me.public_key, seq, prev, START_MS + seq, kind, data))
        prev = entry_id(body)
        hold = prev if kind == HOLD else hold
        wires.append(encode_trusted((body, me.sign(ENTRY_SIG_DOMAIN + prev) if sign else bytes(64))))
    return Written(me.public_key, wires)


def _bill(payee: Identity, payer: bytes, job: bytes, hold: bytes) -> bytes:
    return Bill(NET, job, hold, payer, payee.public_key, PRICE, job).sign(payee).sig


def write_world(people: int, length: int) -> list[Written]:
    """``people`` chains of ``length`` entries, written by all cores."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(partial(write_chain, length=length, people=people), range(people), chunksize=4))
