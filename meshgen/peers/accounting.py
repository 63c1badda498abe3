"""What a person asks of the ledger: every figure opened into the entries that make it, and the words that a person may add.

Everything here is about one ledger and costs no network. Answers are plain values, fit for JSON; amounts are milli-kudos.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import trio

from meshgen.identity import peer_id
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.fold import Line, State
from meshgen.ledger.ledger import Ledger
from meshgen.ledger.standing import Verdict, decide
from meshgen.ledger.words import facts, fields
from meshgen.peers.advice import Word
from meshgen.peers.explanation import explanation
from meshgen.protocols.credit import (
    ADD,
    NO_HEAD,
    RETIRE,
    ROTATE,
    TRANSFER_REASONS,
    Content,
    Entry,
    Genesis,
    Key,
    Transfer,
    Vouch,
    decode_entry,
)

PARTS = ("earned", "spent", "held", "contested")
"""What a balance opens into."""
CONFIRM_S = 20.0
"""More than it takes where there is anybody to ask."""
PAGE = 512
"""Entries read from the disk before others have their turn."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which entries of a chain: from number ``since`` on, made at ``since_ms`` or later, of these kinds (none = all)."""

    since: int = 1
    since_ms: int = 0
    kinds: frozenset[int] = frozenset()
    limit: int = 100
    newest: bool = False
    """The last ``limit`` of them rather than the first."""

    def admits(self, entry: Entry) -> bool:
        return entry.seq >= self.since and entry.ts_ms >= self.since_ms and (not self.kinds or entry.kind in self.kinds)


class Accounting:
    """One peer's ledger for the person who runs it. Authors are public keys."""

    def __init__(
        self,
        ledger: Ledger,
        now_ms: Callable[[], int],
        judge: Callable[[bytes], Verdict] | None = None,
        want: Callable[[bytes], None] | None = None,
    ) -> None:
        """``judge`` says whether, and before whom, this peer serves another; without it, what the log alone says.
        ``want`` asks for an author's log."""
        self._ledger = ledger
        self._now_ms = now_ms
        self._judge = judge or self._by_log_alone
        self._want = want or (lambda _: None)

    def _by_log_alone(self, peer: bytes) -> Verdict:
        return decide(self._ledger.standing(peer))

    # -- balances

    def balance(self, author: bytes) -> dict[str, Any]:
        found = self._ledger.balance(author)
        sums = {f"{name}_mkudos": getattr(found, name) for name in PARTS}
        devices = list(self._ledger.accounts.members(self._ledger.account_of(author))) or [author]
        return {"peer": peer_id(author), "balance_mkudos": found.net, **sums} | {
            "account": self._ledger.account_of(author).hex(),
            "devices": len(devices),
            "account_mkudos": sum(self._ledger.balance(key).net for key in devices),
            "entries": self._ledger.known(author).seq,
            "not_understood": self._ledger.unfolded(author),
            "forked": bool(self._ledger.forked_at(author)),
        }

    async def opened(self, author: bytes, part: str, offset: int, limit: int) -> dict[str, Any]:
        """The deals and gifts behind one figure of a balance, ``limit`` of them from ``offset`` on."""
        page: list[dict[str, Any]] = []
        count = total = 0
        gifts: Iterable[Entry] = self._ledger.transfers(author) if part in ("earned", "spent") else ()
        both: Iterable[Line | Entry] = chain(self._ledger.lines(author), gifts)
        for one in both:
            if amount := _share(one, author, part):
                if offset <= count < offset + limit:
                    page.append(self._deal(one, author, amount) if isinstance(one, Line) else _gift(one, author, amount))
                count, total = count + 1, total + amount
                if count % PAGE == 0:
                    await trio.lowlevel.checkpoint()
        return {"peer": peer_id(author), "open": part, "mkudos": total, "count": count, "offset": offset, "items": page}

    def _deal(self, line: Line, author: bytes, amount: int) -> dict[str, Any]:
        with_whom = line.payee if author == line.payer else line.payer
        first = self._first_entry(line)
        return {
            "with": peer_id(with_whom),
            "side": "payer" if author == line.payer else "payee",
            "mkudos": amount,
            "held_mkudos": line.amount,
            "value_mkudos": line.value,
            "state": str(line.state),
            "kind": facts(first).kind if first else "",
            "ts_ms": first.ts_ms if first else None,
            "entries": [one.hex() for one in line.entries],
        }

    def _first_entry(self, line: Line) -> Entry | None:
        """The HOLD, for its date; None where it is not kept any more."""
        info = self._ledger.hold_info(line.entries[0], line.payer)
        wires = self._ledger.entries(line.payer, info.seq, info.seq) if info else []
        return decode_entry(wires[0], verify=False) if wires else None

    # -- logs

    async def log(self, author: bytes, query: LogQuery) -> dict[str, Any]:
        """Entries of one chain as they are kept. ``next`` is where to go on from, None at the end."""
        found: list[Entry] = []
        more = None
        for start, end in self._pages(author, query):
            page = [decode_entry(wire, verify=False) for wire in self._ledger.entries(author, start, end)]
            fitting = [entry for entry in page if query.admits(entry)]
            if query.newest:
                found = [*fitting, *found][-query.limit :]
            else:
                room = query.limit - len(found)
                found += fitting[:room]
                more = fitting[room].seq if len(fitting) > room else None
            if more is not None or (query.newest and (len(found) == query.limit or (page and page[0].ts_ms < query.since_ms))):
                break
            await trio.lowlevel.checkpoint()
        head = self._ledger.known(author)
        if head == NO_HEAD:
            self._want(author)
        return {"peer": peer_id(author), "head": head.seq, "next": more, "entries": [entry_view(entry) for entry in found]}

    def _pages(self, author: bytes, query: LogQuery) -> Iterator[tuple[int, int]]:
        head = self._ledger.known(author).seq
        if query.newest:
            for end in range(head, query.since - 1, -PAGE):
                yield max(query.since, end - PAGE + 1), end
            return
        first = max(query.since, self._first_since(author, query.since_ms))
        for start in range(first, head + 1, PAGE):
            yield start, min(start + PAGE - 1, head)

    def _first_since(self, author: bytes, ms: int) -> int:
        """The number of the first entry of that time or later: times never fall in a chain, so halving finds it."""
        low, high = 1, self._ledger.known(author).seq + 1
        while ms and low < high:
            middle = (low + high) // 2
            wires = self._ledger.entries(author, middle, middle)
            if wires and decode_entry(wires[0], verify=False).ts_ms >= ms:
                high = middle
            else:
                low = middle + 1
        return low

    def explain(self, peer: bytes) -> dict[str, Any]:
        """Why that peer stands where it stands here."""
        return explanation(self._ledger, peer, self._judge(peer), self._now_ms())

    # -- words

    async def tip(self, payee: bytes, mkudos: int, reason: str = "tip", ref: bytes = b"") -> dict[str, Any]:
        """Give credit away. Raises LedgerError, Malformed."""
        entry = await self._append(Transfer(payee, mkudos, TRANSFER_REASONS.index(reason), ref))
        return {"entry": entry_view(entry), "balance_mkudos": self._ledger.balance(entry.author).net}

    async def vouch(self, peer: bytes, mkudos: int, for_ms: int) -> dict[str, Any]:
        """Answer for the peer's account for so long; 0 mkudos takes it back. Raises LedgerError, Malformed."""
        expires_ms = self._now_ms() + for_ms
        account = self._ledger.account_of(peer)
        if account == peer and (named := self.account_of(peer)):
            why = "no device of it is known to have let it in"
            raise LedgerError(f"that peer says that it belongs to account {named.hex()[:12]}, but {why}")
        given = self._ledger.promises.vouches.get((self._ledger.identity.public_key, account))
        if not mkudos and (given is None or given.expires_ms <= self._now_ms()):
            raise LedgerError("this node does not vouch for that peer, so there is nothing to end")
        entry = await self._append(Vouch(account, mkudos, expires_ms, revoke=int(not mkudos)))
        return {"entry": entry_view(entry), "expires_ms": expires_ms if mkudos else None}

    async def advise(self, word: Word, for_ms: int, *, withdraw: bool = False) -> dict[str, Any]:
        """Recommend something to those who follow this node, for so long. Raises LedgerError, Malformed."""
        expires_ms = self._now_ms() + for_ms
        entry = await self._append(word.content(expires_ms, withdraw=withdraw))
        return {"entry": entry_view(entry), "expires_ms": None if withdraw else expires_ms}

    async def add_device(self, key: bytes, budget: int) -> dict[str, Any]:
        """Let a key into this account; it belongs to it once its own first entry says so. Raises LedgerError, Malformed."""
        entry = await self._append(Key(ADD, key, b"", 0, b"", budget))
        return {"entry": entry_view(entry), "peer": peer_id(entry.author), "account": self.account_of(entry.author).hex()}

    async def rotate(self, key: bytes, next_hash: bytes) -> dict[str, Any]:
        """Close the own log in favour of the next key. Raises LedgerError, Malformed."""
        return {"entry": entry_view(await self._append(Key(ROTATE, key, next_hash, 0, b"", 0)))}

    async def retire_device(self, key: bytes) -> dict[str, Any]:
        """The account stands by that key's entries up to the last one known here. Raises LedgerError, Malformed."""
        head = self._ledger.known(key)
        if head == NO_HEAD:
            raise LedgerError("nothing of that device's log is kept here, so there is no entry to retire it at")
        if self.account_of(key) != self.account_of(self._ledger.identity.public_key):
            raise LedgerError("that peer is not of this account")
        entry = await self._append(Key(RETIRE, key, b"", head.seq, head.id, 0))
        return {"entry": entry_view(entry), "at_seq": head.seq}

    async def _append(self, content: Content) -> Entry:
        """A person does not wait for ever for others to say where the own chain ends."""
        with trio.move_on_after(CONFIRM_S):
            return await self._ledger.append(content)
        raise LedgerError(
            "no other peer has confirmed yet where this node's credit log ends, which is asked once after each start;"
            " try again when `meshgen peers` shows somebody"
        )

    def account_of(self, peer: bytes) -> bytes:
        """The account that the peer's chain names. Raises LedgerError if its first entry is not kept."""
        wires = self._ledger.entries(peer, 1, 1)
        if not wires:
            self._want(peer)
            raise LedgerError("nothing of that peer's log is kept here yet; it was asked for now: try again in a moment")
        entry = decode_entry(wires[0], verify=False)
        return Genesis.from_entry(entry).account or entry.id


def entry_view(entry: Entry) -> dict[str, Any]:
    """An entry for people and programs: what every kind says, and this kind's own fields."""
    known = facts(entry)
    view: dict[str, Any] = {
        "seq": entry.seq,
        "id": entry.id.hex(),
        "author": peer_id(entry.author),
        "ts_ms": entry.ts_ms,
        "kind": known.kind,
        "words": known.words,
    }
    if known.counterparty:
        view["with"] = peer_id(known.counterparty)
    if known.mkudos is not None:
        view["mkudos"] = known.mkudos
    if known.about:
        view["about"] = known.about.hex()
    return view | {"says": fields(entry)}


def _gift(entry: Entry, author: bytes, amount: int) -> dict[str, Any]:
    known = facts(entry)
    given = author == entry.author
    return {
        "with": peer_id(known.counterparty if given else entry.author),
        "side": "payer" if given else "payee",
        "mkudos": amount,
        "held_mkudos": 0,
        "value_mkudos": amount,
        "state": "given",
        "kind": known.kind,
        "ts_ms": entry.ts_ms,
        "entries": [entry.id.hex()],
    }


def _share(one: Line | Entry, author: bytes, part: str) -> int:
    """What one deal or gift adds to one figure of the author's balance."""
    if isinstance(one, Entry):
        side = "spent" if author == one.author else "earned"
        return (facts(one).mkudos or 0) if side == part else 0
    value = one.value
    match part:
        case "earned":
            return value if author == one.payee else 0
        case "spent":
            return value if author == one.payer else 0
        case "contested":
            return value if one.state is State.CONTESTED else 0
    is_open = one.state in (State.OPEN, State.CLAIMED) or (one.state is State.VOID and len(one.entries) == 1)
    return one.amount - value if author == one.payer and is_open else 0
