"""The routes about credit, over real ledgers in memory: every figure opens into entries, and what is added stands in the log."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import trio.testing

from meshgen.gateway.app import make_app
from meshgen.identity import Identity
from meshgen.ledger.errors import LedgerError
from meshgen.ledger.ledger import Ledger, open_ledger
from meshgen.peers import accounting
from meshgen.peers.accounting import Accounting, LogQuery
from meshgen.protocols.credit import (
    Bill,
    Claim,
    Entry,
    Genesis,
    Hold,
    Receipt,
    Release,
    Voucher,
    decode_entry,
    make_entry,
    net_id,
)
from tests.gateway.fake_node import ALICE, BOB, FakeNode

CAROL = Identity.from_seed(bytes(range(2, 34)))
NET = net_id(b"test")
HOUR_MS = 3_600_000
RESULT = hashlib.sha256(b"pictures").digest()


@dataclass
class Town:
    """Ledgers of people who know all of each other's logs."""

    now_ms: int = 1_789_000_000_000
    ledgers: dict[bytes, Ledger] = field(default_factory=dict)
    jobs: int = 0

    def clock(self) -> int:
        return self.now_ms

    async def hold(self, payer: Identity, payee: Identity, amount: int) -> Entry:
        self.jobs += 1
        self.now_ms += HOUR_MS
        job = hashlib.sha256(b"job %d" % self.jobs).digest()
        expires_ms, head = self.now_ms + 2 * HOUR_MS, self.ledgers[payee.public_key].head()
        return await self.ledgers[payer.public_key].hold(job, payee.public_key, amount, expires_ms, head)

    async def pay(self, payer: Identity, payee: Identity, amount: int, of: int) -> Entry:
        """A hold of ``of`` that is paid with ``amount``."""
        hold = await self.hold(payer, payee, of)
        terms = Hold.from_entry(hold)
        bill = Bill(NET, terms.job, hold.id, hold.author, terms.payee, amount, RESULT).sign(payee)
        receipt = Receipt(terms.job, hold.id, terms.payee, amount, RESULT, 1, bill.sig)
        return await self.ledgers[payer.public_key].append(receipt)

    async def contest(self, payer: Identity, payee: Identity, amount: int) -> Entry:
        """The payee claims what the payer signed for and takes back."""
        hold = await self.hold(payer, payee, amount)
        voucher = Voucher(NET, hold.id, payer.public_key, payee.public_key, amount).sign(payer)
        claim = Claim(hold.id, hold.seq, payer.public_key, amount, voucher.sig, RESULT)
        await self.ledgers[payee.public_key].append(claim)
        self.now_ms += 3 * HOUR_MS
        return await self.ledgers[payer.public_key].append(Release(hold.id, 0, b""))

    async def meet(self) -> None:
        """Everybody takes in everybody's log."""
        for one in self.ledgers.values():
            for other in self.ledgers.values():
                if one is not other:
                    await one.add(other.identity.public_key, other.entries(other.identity.public_key, 1, 1000))


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    town = Town()
    async with AsyncExitStack() as stack:
        for person in (ALICE, BOB, CAROL):
            ledger = open_ledger(None, person, NET, now_ms=town.clock, label="a device")
            town.ledgers[person.public_key] = await stack.enter_async_context(ledger)
        yield town


@pytest.fixture
async def api(town: Town) -> AsyncIterator[httpx.AsyncClient]:
    node = FakeNode()
    node.credit = Accounting(town.ledgers[ALICE.public_key], town.clock)
    transport = httpx.ASGITransport(make_app(node, "t"))
    headers = {"authorization": "Bearer t"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1", headers=headers) as client:
        yield client


async def ask(api: httpx.AsyncClient, what: str, **query: object) -> dict[str, Any]:
    answer = await api.get(f"/v1/credit/{what}", params={name: str(value) for name, value in query.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def say(api: httpx.AsyncClient, path: str, code: int = 201, **body: object) -> dict[str, Any]:
    answer = await api.post(f"/v1/{path}", json=body)
    assert answer.status_code == code, answer.text
    return answer.json()["error"] if code >= 400 else answer.json()


async def test_a_balance_opens_into_the_entries_that_make_it(api: httpx.AsyncClient, town: Town) -> None:
    first = await town.pay(ALICE, BOB, 20, 30)
    await town.pay(ALICE, CAROL, 5, 5)
    await town.pay(BOB, ALICE, 100, 100)
    await town.contest(ALICE, BOB, 7)
    open_hold = await town.hold(ALICE, CAROL, 11)
    await town.meet()
    balance = await ask(api, "balance")
    sums = {name: balance[f"{name}_mkudos"] for name in ("balance", "earned", "spent", "held", "contested")}
    assert sums == {"balance": 68, "earned": 100, "spent": 32, "held": 11, "contested": 7}
    assert (balance["peer"], balance["forked"], balance["entries"]) == (ALICE.peer_id, False, 8)
    for part in ("earned", "spent", "held", "contested"):
        opened = await ask(api, "deals", open=part)
        assert opened["mkudos"] == sums[part] == sum(item["mkudos"] for item in opened["items"]), part
    spent = (await ask(api, "deals", open="spent"))["items"]
    assert [(item["with"], item["mkudos"], item["held_mkudos"], item["state"]) for item in spent] == [
        (BOB.peer_id, 20, 30, "paid"),
        (CAROL.peer_id, 5, 5, "paid"),
        (BOB.peer_id, 7, 7, "contested"),
    ]
    assert spent[0]["entries"][1] == first.id.hex() and spent[0]["ts_ms"] == 1_789_000_000_000 + HOUR_MS
    (held,) = (await ask(api, "deals", open="held"))["items"]
    assert (held["entries"], held["state"]) == ([open_hold.id.hex()], "open")


async def test_deals_come_in_pages(api: httpx.AsyncClient, town: Town) -> None:
    for amount in range(1, 6):
        await town.pay(ALICE, BOB, amount, 10)
    page = await ask(api, "deals", open="spent", offset=3, limit=1)
    assert (page["count"], page["mkudos"], [item["mkudos"] for item in page["items"]]) == (5, 15, [4])
    assert (await ask(api, "deals", open="spent", offset=9))["items"] == []


async def test_the_log_by_number_time_and_kind(api: httpx.AsyncClient, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "PAGE", 2)
    begin = town.now_ms
    for amount in range(1, 4):
        await town.pay(ALICE, BOB, amount, 10)

    async def seqs(**query: object) -> list[int]:
        return [entry["seq"] for entry in (await ask(api, "log", **query))["entries"]]

    assert await seqs() == [1, 2, 3, 4, 5, 6, 7]
    assert await seqs(since=3, limit=2) == [3, 4]
    assert (await ask(api, "log", since=3, limit=2))["next"] == 5
    assert (await ask(api, "log", since=6))["next"] is None
    assert await seqs(newest=True, limit=3) == [5, 6, 7]
    assert await seqs(kind="receipt") == [3, 5, 7] == await seqs(kind="2")
    assert await seqs(kind="receipt,genesis", newest=True, limit=2) == [5, 7]
    assert await seqs(since_ms=begin + 2 * HOUR_MS) == [4, 5, 6, 7]
    assert await seqs(since_ms=begin + 2 * HOUR_MS, newest=True, limit=100) == [4, 5, 6, 7]
    assert await seqs(since_ms=begin + 99 * HOUR_MS) == []
    assert await seqs(peer=BOB.peer_id) == []
    hold = (await ask(api, "log", since=2, limit=1))["entries"][0]
    assert (hold["kind"], hold["with"], hold["mkudos"], hold["says"]["payee"]) == ("hold", BOB.peer_id, 10, BOB.peer_id)


async def test_a_tip_moves_the_balance(api: httpx.AsyncClient, town: Town) -> None:
    receipt = await town.pay(BOB, ALICE, 50, 50)
    await town.meet()
    said = await say(api, "credit/tip", peer=BOB.peer_id, mkudos=20, about=receipt.id.hex(), reason="share")
    assert said["balance_mkudos"] == 30
    (entry,) = (await ask(api, "log", kind="transfer"))["entries"]
    assert (entry["mkudos"], entry["with"], entry["about"]) == (20, BOB.peer_id, receipt.id.hex())
    assert entry["words"] == "gives it (share) to" and entry["says"]["reason"] == "share"
    spent = await ask(api, "deals", open="spent")
    assert [(item["kind"], item["mkudos"], item["with"]) for item in spent["items"]] == [("transfer", 20, BOB.peer_id)]
    assert spent["mkudos"] == (await ask(api, "balance"))["spent_mkudos"]
    earned = await ask(api, "deals", open="earned", peer=BOB.peer_id)
    assert earned["mkudos"] == (await ask(api, "balance", peer=BOB.peer_id))["earned_mkudos"] == 20


async def test_vouching_and_taking_it_back(api: httpx.AsyncClient, town: Town) -> None:
    unknown = await say(api, "credit/vouch", 409, peer=BOB.peer_id, mkudos=5)
    assert "is kept here yet" in unknown["message"]
    await town.meet()
    said = await say(api, "credit/vouch", peer=BOB.peer_id, mkudos=5000, for_ms=HOUR_MS)
    assert said["expires_ms"] == town.now_ms + HOUR_MS
    found = await ask(api, "explain", peer=BOB.peer_id)
    (path,) = found["paths"]
    (hop,) = path["hops"]
    assert (path["mkudos"], hop["vouched_mkudos"], hop["owed_mkudos"]) == (5000, 5000, 0)
    assert hop["entries"] == [said["entry"]["id"]] and found["vouches"][0]["by"] == ALICE.peer_id
    assert (await say(api, "credit/vouch", peer=BOB.peer_id, mkudos=0))["expires_ms"] is None
    assert (await ask(api, "explain", peer=BOB.peer_id))["credit_mkudos"] == 0
    assert "400" not in (await say(api, "credit/vouch", 409, peer=BOB.peer_id, mkudos=1, for_ms=2**52))["code"]


async def test_advice_is_put_on_record_and_taken_back(api: httpx.AsyncClient, town: Town) -> None:
    said = await say(api, "credit/advise", peer=BOB.peer_id, recommendation="avoid", label="sends noise", for_ms=HOUR_MS)
    assert said["expires_ms"] == town.now_ms + HOUR_MS and said["entry"]["kind"] == "advisory"
    await say(api, "credit/advise", peer=BOB.peer_id, recommendation="avoid", withdraw=True)
    assert [word.advisory.op for word in town.ledgers[ALICE.public_key].promises.advisories.values()] == [1]
    for wrong in ({"peer": BOB.peer_id, "model": "ab" * 32}, {}, {"model": "xy"}, {"peer": ALICE.peer_id}):
        await say(api, "credit/advise", 422, recommendation="avoid", **wrong)
    await say(api, "credit/advise", 409, peer=BOB.peer_id, recommendation="avoid", label="z\u00f6e")


async def test_no_vouch_for_an_account_that_a_peer_merely_names(api: httpx.AsyncClient, town: Town) -> None:
    await town.meet()
    bobs = decode_entry(town.ledgers[BOB.public_key].entries(BOB.public_key, 1, 1)[0]).id
    joiner = Identity.from_seed(bytes(32))
    genesis = Genesis(bobs, bytes(32), "not let in")
    entry = make_entry(joiner, NET, 1, b"", town.now_ms, kind=genesis.KIND, data=genesis.data())
    await town.ledgers[ALICE.public_key].add(joiner.public_key, [entry.wire])
    refused = await say(api, "credit/vouch", 409, peer=joiner.peer_id, mkudos=5)
    assert "no device of it is known to have let it in" in refused["message"]


async def test_what_is_not_kept_is_asked_for(town: Town) -> None:
    wanted: list[bytes] = []
    accounting = Accounting(town.ledgers[ALICE.public_key], town.clock, want=wanted.append)
    await accounting.log(BOB.public_key, LogQuery())
    with pytest.raises(LedgerError, match="asked for now"):
        await accounting.vouch(CAROL.public_key, 5, HOUR_MS)
    assert wanted == [BOB.public_key, CAROL.public_key]


async def test_only_a_vouch_that_stands_can_be_ended(town: Town) -> None:
    ledger = town.ledgers[ALICE.public_key]
    alice, bob = Accounting(ledger, town.clock), BOB.public_key
    await ledger.add(bob, town.ledgers[bob].entries(bob, 1, 1))
    await alice.vouch(bob, 5, HOUR_MS)
    await alice.vouch(bob, 0, HOUR_MS)
    head = ledger.head()
    with pytest.raises(LedgerError, match="does not vouch"):
        await alice.vouch(bob, 0, HOUR_MS)
    assert ledger.head() == head


async def test_who_meets_nobody_is_told_why_nothing_is_said(town: Town, autojump_clock: trio.testing.MockClock) -> None:
    ledger = town.ledgers[ALICE.public_key]
    alice, head = Accounting(ledger, town.clock), ledger.head()
    ledger.hold_appends()
    with pytest.raises(LedgerError, match="no other peer has confirmed"):
        await alice.tip(BOB.public_key, 5)
    ledger.allow_appends()
    await alice.tip(BOB.public_key, 5)
    assert ledger.head().seq == head.seq + 1, "what was given up is not said later"


async def test_why_a_peer_stands_where_it_stands(api: httpx.AsyncClient, town: Town) -> None:
    direct = await town.pay(ALICE, BOB, 20, 20)
    await town.pay(ALICE, CAROL, 9, 9)
    beyond = await town.pay(CAROL, BOB, 6, 6)
    await town.meet()
    found = await ask(api, "explain", peer=BOB.peer_id)
    assert (found["served"], found["credit_mkudos"], found["tier"], found["bucket"]) == (True, 26, "others", 5)
    assert [path["mkudos"] for path in found["paths"]] == [20, 6]
    hops = [(hop["debtor"], hop["creditor"], hop["owed_mkudos"]) for hop in found["paths"][1]["hops"]]
    assert hops == [(ALICE.peer_id, CAROL.peer_id, 9), (CAROL.peer_id, BOB.peer_id, 6)]
    assert direct.id.hex() in found["paths"][0]["hops"][0]["entries"]
    assert beyond.id.hex() in found["paths"][1]["hops"][1]["entries"]
    assert any("friend" in way for way in found["changes"])
    stranger = await ask(api, "explain", peer=Identity.from_seed(bytes(32)).peer_id)
    assert (stranger["credit_mkudos"], stranger["paths"], stranger["bucket"]) == (0, [], 0)


async def test_used_credit_is_shown(api: httpx.AsyncClient, town: Town) -> None:
    await town.pay(ALICE, BOB, 20, 20)
    await town.pay(BOB, ALICE, 15, 15)
    await town.meet()
    found = await ask(api, "explain", peer=BOB.peer_id)
    assert found["credit_mkudos"] == 5 and sum(path["mkudos"] for path in found["used"]) == 15
    assert any("used credit up" in way for way in found["changes"])


async def test_devices(api: httpx.AsyncClient, town: Town) -> None:
    own = await ask(api, "log", limit=1)
    said = await say(api, "account/add", peer=BOB.peer_id, budget_mkudos=700)
    assert said["account"] == own["entries"][0]["id"]
    assert "nothing of that device's log" in (await say(api, "account/retire", 409, peer=BOB.peer_id))["message"]
    await town.meet()
    assert "not of this account" in (await say(api, "account/retire", 409, peer=BOB.peer_id))["message"]
    async with open_ledger(None, Identity.from_seed(bytes(32)), NET, now_ms=town.clock) as device:
        assert device.head().seq == 1


async def test_only_the_key_that_was_committed_to_may_follow(api: httpx.AsyncClient, town: Town) -> None:
    refused = await say(api, "account/rotate", 409, key=BOB.public_key.hex(), next_hash="00" * 32)
    assert "another key than GENESIS committed to" in refused["message"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("credit/tip", {"peer": "bob", "mkudos": 1}, "peer"),
        ("credit/tip", {"peer": BOB.peer_id, "mkudos": 0}, "mkudos"),
        ("credit/tip", {"peer": BOB.peer_id, "mkudos": 2**40 + 1}, "mkudos"),
        ("credit/tip", {"peer": BOB.peer_id, "mkudos": 1, "reason": "bribe"}, "reason"),
        ("credit/tip", {"peer": BOB.peer_id, "mkudos": 1, "about": "ab"}, "about"),
        ("credit/tip", {"peer": BOB.peer_id, "mkudos": 1, "note": "thanks"}, "note"),
        ("credit/tip", {"peer": ALICE.peer_id, "mkudos": 1}, "peer"),
        ("credit/vouch", {"peer": BOB.peer_id, "mkudos": -1}, "mkudos"),
        ("account/add", {"peer": ALICE.peer_id}, "peer"),
        ("account/retire", {"peer": "x" * 65}, "peer"),
        ("account/rotate", {"key": "ab", "next_hash": "00" * 32}, "key"),
    ],
)
async def test_bad_input_names_its_field(api: httpx.AsyncClient, town: Town, path: str, body: dict[str, Any], field: str) -> None:
    assert (await say(api, path, 422, **body))["field"] == field
    assert town.ledgers[ALICE.public_key].head().seq == 1


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("balance?peer=bob", "peer"),
        ("balance?peer=0OIl", "peer"),
        ("deals?open=all", "open"),
        ("deals", "open"),
        ("deals?open=held&limit=1001", "limit"),
        ("log?since=0", "since"),
        ("log?kind=nonsense", "kind"),
        ("log?kind=256", "kind"),
        ("explain", "peer"),
    ],
)
async def test_bad_questions_name_their_field(api: httpx.AsyncClient, path: str, field: str) -> None:
    answer = await api.get(f"/v1/credit/{path}")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


async def test_verify_is_the_nodes_own(api: httpx.AsyncClient) -> None:
    assert (await ask(api, "verify"))["ok"] is True
