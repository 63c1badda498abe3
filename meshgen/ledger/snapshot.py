"""The fold as bytes, so that a home opens without reading its whole log again. It saves time and proves nothing.

What is damaged, of another mesh or made by another version is not used: the log itself says the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack  # type: ignore[import-untyped]

from meshgen import __version__
from meshgen.ledger.books import Books, Recall, Worth
from meshgen.ledger.fold import Claimed, Deal, Edge, Gift, Paid, Released, Terms
from meshgen.ledger.rules import Chain
from meshgen.protocols.credit import Head, Hold

_DIGEST_BYTES = 32
_DOMAIN = f"meshgen/snapshot/1/{__version__}\0".encode()
_STUB_DOMAIN = b"meshgen/stub/1\0"


def pack(net: bytes, books: Books, chains: Iterable[Chain], branches: Mapping[bytes, set[bytes]]) -> bytes:
    """``branches``: the ids of the entries off the main chains that are in the books."""
    off = {author: list(ids) for author, ids in branches.items()}
    return _sealed(_DOMAIN + net, (_books_out(books), [_chain_out(chain) for chain in chains], off))


def unpack(net: bytes, data: bytes, recall: Recall) -> tuple[Books, list[Chain], dict[bytes, set[bytes]]] | None:
    """None if it is not :func:`pack`'s, of this version and mesh."""
    opened = _opened(_DOMAIN + net, data)
    if opened is None:
        return None
    books, chains, off = opened
    return _books_in(books, recall), [_chain_in(net, chain) for chain in chains], {key: set(ids) for key, ids in off.items()}


@dataclass(slots=True)
class Stub:
    """What stays of the beginning of a chain whose entries are not kept."""

    chain: Chain
    """As it stood after the last entry that is gone."""
    edges: dict[bytes, int] = field(default_factory=dict)
    """payee -> what the deals came to that are over."""
    gifts: dict[bytes, int] = field(default_factory=dict)
    """payee -> what was given to it."""
    deals: list[Deal] = field(default_factory=list)
    """Those that are not over, or were claimed: what the author says of them."""
    claims: list[tuple[bytes, Claimed]] = field(default_factory=list)
    """The author's own, by hold."""
    unfolded: int = 0

    def restore(self, books: Books) -> None:
        """Put into the books what the entries had put there."""
        author = self.chain.author
        for payee, value in self.edges.items():
            books.move(author, payee, Worth(value))
        for payee, amount in self.gifts.items():
            books.give(Gift(b"", author, payee, amount))
        for deal in self.deals:
            books.join(deal, author)
        for hold_id, claim in self.claims:
            books.join(Deal(hold_id, claims=frozenset((claim,))), author)
        books.unfolded[author] += self.unfolded

    def pack(self) -> bytes:
        deals = [_deal_out(deal) for deal in self.deals]
        value = (_chain_out(self.chain), self.edges, self.gifts, deals, self.claims, self.unfolded)
        return _sealed(_STUB_DOMAIN + self.chain.net, value)


def unpack_stub(net: bytes, data: bytes) -> Stub | None:
    """None if it is not :meth:`Stub.pack`'s: the chain has to be pulled again."""
    opened = _opened(_STUB_DOMAIN + net, data)
    if opened is None:
        return None
    chain, edges, gifts, deals, claims, unfolded = opened
    own = [(hold_id, Claimed(*claim)) for hold_id, claim in claims]
    return Stub(_chain_in(net, chain), edges, gifts, [_deal_in(deal) for deal in deals], own, unfolded)


def _sealed(context: bytes, value: object) -> bytes:
    body: bytes = msgpack.packb(value)
    return hashlib.sha256(context + body).digest() + body


def _opened(context: bytes, data: bytes) -> Any:
    digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(context + body).digest() != digest:
        return None
    return msgpack.unpackb(body, use_list=False, strict_map_key=False)


def _books_out(books: Books) -> tuple[object, ...]:
    deals = [_deal_out(deal) for deal in books.deals.values()]
    return deals, books.sums, books.edges, books.unfolded, books.forked


def _books_in(value: Any, recall: Recall) -> Books:
    deals, sums, edges, unfolded, forked = value
    books = Books(recall)
    books.sums = {author: list(figures) for author, figures in sums.items()}
    books.edges = {sides: Edge(*figures) for sides, figures in edges.items()}
    books.unfolded.update(unfolded)
    books.forked = forked
    for deal in map(_deal_in, deals):
        books.keep(deal)
    return books


def _deal_out(deal: Deal) -> tuple[object, ...]:
    return deal.hold_id, deal.terms, deal.paid, deal.released, list(deal.claims), deal.void


def _deal_in(value: Any) -> Deal:
    hold_id, terms, paid, released, claims, void = value
    return Deal(
        hold_id,
        terms and Terms(*terms),
        paid and Paid(*paid),
        released and Released(*released),
        frozenset(Claimed(*claim) for claim in claims),
        void,
    )


def _chain_out(chain: Chain) -> tuple[object, ...]:
    holds = {hold_id: hold.data() for hold_id, hold in chain.holds.items()}
    return chain.author, chain.head, chain.ts_ms, holds, chain.claims, chain.account, chain.next_hash, chain.closed


def _chain_in(net: bytes, value: Any) -> Chain:
    author, head, ts_ms, holds, claims, account, next_hash, closed = value
    opened = {hold_id: Hold(*data) for hold_id, data in holds.items()}
    return Chain(net, author, Head(*head), ts_ms, opened, claims, account, next_hash, closed)
