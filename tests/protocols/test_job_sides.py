"""The job's two machines: a good job in full, then every breach by either side, and chaos from both."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.identity import Identity
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Bill, Voucher, result_commitment
from meshgen.protocols.envelope import sign
from meshgen.protocols.job import (
    CHUNK_BYTES,
    Accepted,
    BillMessage,
    Chunk,
    Done,
    Failed,
    Preview,
    Progress,
    ResultStart,
    Settled,
    Stop,
    VoucherMessage,
)
from meshgen.protocols.job_sides import OutOfTurn, Paid, RequesterSide, ResultArrived, Turn, WorkerSide
from meshgen.protocols.offer import Refusal
from meshgen.protocols.record import Record
from tests.conformance.samples import REQUESTER, WORKER, h
from tests.protocols.deals import PRICE, make_deal, png
from tests.protocols.strategies import record_kinds, records

DEAL = make_deal(count=3)
TERMS = DEAL.terms()
SALT = bytes(16)
OTHER = Identity.from_seed(h("a third peer"))


class Pair:
    """Both sides of one job, wired to each other."""

    def __init__(self) -> None:
        self.requester, self.worker = RequesterSide(TERMS), WorkerSide(TERMS)

    def accepted(self) -> Pair:
        self.requester.feed(self.worker.accept())
        return self

    def sent(self, index: int, picture: bytes = png()) -> Pair:
        for message in self.worker.result(index, picture, SALT, 5):
            assert self.requester.feed(message) is None
        return self

    def billed(self, index: int) -> Pair:
        event = self.sent(index).requester.feed(self.worker.bill(WORKER))
        assert isinstance(event, ResultArrived)
        assert (event.index, event.seed, event.data) == (index, TERMS.seeds[index], png())
        return self

    def paid(self, *indices: int) -> Pair:
        for index in indices:
            self.worker.feed(self.billed(index).requester.pay(REQUESTER))
        return self


def start(index: int = 0, picture: bytes = png(), **changes: object) -> bytes:
    good = ResultStart(index, TERMS.seeds[index], len(picture), sha256(picture).digest(), SALT, 5)
    return replace(good, **changes).encode()


def bill(count: int = 1, **changes: object) -> Bill:
    result = result_commitment([(SALT, sha256(png()).digest())] * count)
    good = Bill(TERMS.net, TERMS.job, TERMS.hold_id, TERMS.payer, TERMS.payee, PRICE * count, result)
    return replace(good, **changes)


def test_a_whole_job() -> None:
    pair = Pair().accepted()
    for index in (2, 0, 1):  # in the engine's order
        assert pair.requester.feed(pair.worker.progress(index, 10)) == Progress(index, 10, 20)
        assert pair.requester.feed(pair.worker.preview(index, 10, b"jpeg")) == Preview(index, 10, b"jpeg")
        pair.paid(index)
    assert pair.worker.paid_mkudos == pair.worker.owed_mkudos == pair.requester.owed_mkudos == 3 * PRICE
    assert pair.requester.feed(pair.worker.done()) == Done(3)
    receipt = pair.requester.receipt()
    assert (receipt.amount, receipt.units, receipt.result) == (3 * PRICE, 3, pair.worker.commitment)
    assert bill(3, sig=receipt.bill_sig).is_signed()
    assert pair.worker.feed(pair.requester.settle(b"entry")) == Settled(b"entry")
    assert pair.requester.ended and pair.worker.ended


def test_progress_may_repeat_as_a_sign_of_life() -> None:
    pair = Pair().accepted()
    for index, step in ((0, 5), (0, 5), (1, 0), (0, 5), (0, 20)):
        pair.requester.feed(pair.worker.progress(index, step))
    pair.requester.feed(pair.worker.preview(0, 20, b"j"))
    pair.paid(0).requester.feed(pair.worker.progress(0, 20))


def test_a_large_picture_comes_in_chunks() -> None:
    deal = make_deal(count=1)
    terms = replace(deal.terms(), width=1024, height=1024)
    requester, worker = RequesterSide(terms), WorkerSide(terms)
    requester.feed(worker.accept())
    picture = png(1024, 1024, size=2 * CHUNK_BYTES + 1)
    messages = worker.result(0, picture, SALT, 5)
    assert len(messages) == 4
    for message in messages:
        requester.feed(message)
    event = requester.feed(worker.bill(WORKER))
    assert isinstance(event, ResultArrived) and event.data == picture


def test_a_worker_that_refuses() -> None:
    requester = RequesterSide(TERMS)
    refusal = Refusal(TERMS.net, TERMS.offer_id, "full", 0)
    assert requester.feed(sign(WORKER, refusal).wire) == refusal
    assert requester.ended


@pytest.mark.parametrize("reason", ["stopped", "crashed", "out_of_memory"])
def test_a_job_that_fails_is_paid_for_what_arrived(reason: str) -> None:
    pair = Pair().accepted().paid(0)
    assert pair.worker.feed(pair.requester.stop()) == Stop()
    assert pair.requester.feed(pair.worker.fail(reason)) == Failed(reason)
    assert (pair.requester.receipt().amount, pair.requester.receipt().units) == (PRICE, 1)
    pair.worker.feed(pair.requester.settle(b"entry"))


def test_a_voucher_that_crosses_the_workers_failure_still_counts() -> None:
    pair = Pair().accepted().billed(0)
    voucher = pair.requester.pay(REQUESTER)
    pair.requester.feed(pair.worker.fail("unpaid"))
    assert pair.worker.feed(voucher) == Paid(PRICE)
    assert pair.worker.claim().amount == PRICE


# -- what the worker may not do


def breaches_of_the_worker() -> dict[str, tuple[Pair, bytes, str]]:
    accepted, refusal = Accepted(TERMS.hold_id), Refusal(TERMS.net, TERMS.offer_id, "full", 0)
    whole = Chunk(png()).encode()
    return {
        "progress before its yes": (Pair(), Progress(0, 1, 20).encode(), "no place here"),
        "a picture before its yes": (Pair(), start(), "no place here"),
        "yes for another hold": (Pair(), Accepted(h("x")).encode(), "hold_id"),
        "yes twice": (Pair().accepted(), accepted.encode(), "no place here"),
        "another peer's no": (Pair(), sign(OTHER, refusal).wire, "not this worker's"),
        "a no to another offer": (Pair(), sign(WORKER, replace(refusal, offer_id=h("x"))).wire, "not this worker's"),
        "a no after its yes": (Pair().accepted(), sign(WORKER, refusal).wire, "no place here"),
        "a chunk without its start": (Pair().accepted(), whole, "no place here"),
        "a bill without a picture": (Pair().accepted(), BillMessage(bill().sign(WORKER).encode()).encode(), "no place here"),
        "a picture nobody ordered": (Pair().accepted(), replace(ResultStart(3, 1, 9, h("x"), SALT, 1)).encode(), "were awarded"),
        "another seed": (Pair().accepted(), start(seed=999), "seed"),
        "a picture twice": (Pair().accepted().paid(0), start(), "twice"),
        "a picture larger than any": (Pair().accepted(), start(size=2**24), "are the most"),
        "a picture before the voucher": (Pair().accepted().billed(0), start(1), "no place here"),
        "another picture inside one": (Pair().accepted().sent(0), start(1), "no place here"),
        "a chunk too many": (Pair().accepted().sent(0), whole, "no place here"),
        "a second bill": (Pair().accepted().billed(0), BillMessage(bill().sign(WORKER).encode()).encode(), "no place here"),
        "done too early": (Pair().accepted().paid(0), Done(1).encode(), "1 of 3"),
        "done with a wrong count": (Pair().accepted().paid(0, 1, 2), Done(2).encode(), "3 of 3"),
        "done unpaid": (Pair().accepted().paid(0, 1).billed(2), Done(3).encode(), "no place here"),
        "a preview twice": (stepped(10), Preview(0, 10, b"j").encode(), "step"),
        "a preview backwards": (stepped(10), Preview(0, 9, b"j").encode(), "step"),
        "a step beyond the last": (Pair().accepted(), Progress(0, 21, 40).encode(), "step"),
        "steps of a picture nobody ordered": (Pair().accepted(), Progress(3, 1, 20).encode(), "picture 3"),
        "a preview of a picture nobody ordered": (Pair().accepted(), Preview(3, 1, b"j").encode(), "picture 3"),
        "the requester's own words": (Pair().accepted(), Stop().encode(), "no place here"),
        "garbage": (Pair().accepted(), b"\xff" * 100, "no place here"),
        "nothing": (Pair(), b"", "not msgpack"),
    }


def stepped(step: int) -> Pair:
    pair = Pair().accepted()
    pair.requester.feed(pair.worker.preview(0, step, b"j"))
    return pair


@pytest.mark.parametrize("name", list(breaches_of_the_worker()))
def test_a_breach_by_the_worker_ends_the_job(name: str) -> None:
    pair, message, why = breaches_of_the_worker()[name]
    arrived = list(pair.requester.pictures)
    with pytest.raises(Malformed, match=why):
        pair.requester.feed(message)
    assert pair.requester.ended
    assert pair.requester.pictures == arrived, "a breach neither adds a picture nor takes one"
    with pytest.raises(Malformed):
        pair.requester.feed(Failed("crashed").encode())


@pytest.mark.parametrize("data", [b"", b"x", png()[:-1], png() + b"x", png(fill=1)])
def test_chunks_must_be_the_announced_picture(data: bytes) -> None:
    pair = Pair().accepted()
    pair.requester.feed(start())
    with pytest.raises(Malformed):
        pair.requester.feed(Chunk(data).encode())


def test_a_chunk_must_be_full_unless_it_is_the_last() -> None:
    """Else a worker could keep a requester busy with a million chunks of one byte."""
    requester = RequesterSide(replace(TERMS, width=1024, height=1024))
    requester.feed(Accepted(TERMS.hold_id).encode())
    requester.feed(start(size=CHUNK_BYTES + 2))
    with pytest.raises(Malformed, match="belong"):
        requester.feed(Chunk(b"x").encode())


@pytest.mark.parametrize("picture", [png(128), b"not a picture", png()[:20]])
def test_a_picture_that_was_not_ordered_is_not_paid(picture: bytes) -> None:
    pair = Pair().accepted()
    pair.requester.feed(start(picture=picture))
    with pytest.raises(Malformed, match="not a PNG of 64x64"):
        pair.requester.feed(Chunk(picture).encode())
    assert pair.requester.owed_mkudos == 0
    with pytest.raises(OutOfTurn, match="nothing arrived"):
        pair.requester.receipt()


BAD_BILLS = {
    "amount": {"amount": PRICE + 1},
    "result": {"result": h("another picture")},  # a bill for a picture that never came
    "hold_id": {"hold_id": h("x")},
    "job": {"job": h("x")},
    "payer": {"payer": OTHER.public_key},
    "net": {"net": bytes(16)},
}


@pytest.mark.parametrize("field", BAD_BILLS)
def test_a_bill_must_be_for_what_arrived(field: str) -> None:
    pair = Pair().accepted().sent(0)
    wrong = bill(**BAD_BILLS[field]).sign(WORKER).encode()
    with pytest.raises(Malformed, match=f"bill.{field}"):
        pair.requester.feed(BillMessage(wrong).encode())
    assert pair.requester.owed_mkudos == 0


@pytest.mark.parametrize("wrong", [b"\x00", bill(payee=OTHER.public_key).sign(OTHER).encode(), bill(sig=bytes(64)).encode()])
def test_a_bill_must_be_the_workers(wrong: bytes) -> None:
    pair = Pair().accepted().sent(0)
    with pytest.raises(Malformed):
        pair.requester.feed(BillMessage(wrong).encode())


def test_after_a_bad_second_picture_the_first_is_still_paid() -> None:
    pair = Pair().accepted().paid(0).sent(1)
    with pytest.raises(Malformed):
        pair.requester.feed(BillMessage(bill(2, amount=PRICE * 3).sign(WORKER).encode()).encode())
    receipt = pair.requester.receipt()
    assert (receipt.amount, receipt.units, receipt.result) == (PRICE, 1, bill(1).result)


# -- what the requester may not do


def voucher(count: int = 1, **changes: object) -> bytes:
    good = Voucher(TERMS.net, TERMS.hold_id, TERMS.payer, TERMS.payee, PRICE * count)
    return VoucherMessage(replace(good, **changes).sign(REQUESTER).encode()).encode()


def breaches_of_the_requester() -> dict[str, tuple[Pair, bytes, str]]:
    return {
        "a voucher for nothing": (Pair().accepted(), voucher(0), "nothing is owed"),
        "a voucher twice": (Pair().accepted().paid(0), voucher(1), "nothing is owed"),
        "too small a voucher": (Pair().accepted().billed(0), voucher(amount=PRICE - 1), "amount"),
        "a shrinking voucher": (Pair().accepted().paid(0).billed(1), voucher(1), "amount"),
        "too large a voucher": (Pair().accepted().billed(0), voucher(2), "amount"),
        "a voucher on another hold": (Pair().accepted().billed(0), voucher(hold_id=h("x")), "hold_id"),
        "a voucher to another worker": (Pair().accepted().billed(0), voucher(payee=OTHER.public_key), "payee"),
        "a voucher in another mesh": (Pair().accepted().billed(0), voucher(net=bytes(16)), "net"),
        "a voucher that is none": (Pair().accepted().billed(0), VoucherMessage(b"x").encode(), "voucher"),
        "settled before the end": (Pair().accepted().paid(0), Settled(b"x").encode(), "before the job ended"),
        "the worker's own words": (Pair().accepted(), Done(3).encode(), "no place here"),
        "garbage": (Pair().accepted(), b"\x91" * 900, "no place here"),
    }


@pytest.mark.parametrize("name", list(breaches_of_the_requester()))
def test_a_breach_by_the_requester_ends_the_job(name: str) -> None:
    pair, message, why = breaches_of_the_requester()[name]
    paid = pair.worker.paid_mkudos
    with pytest.raises(Malformed, match=why):
        pair.worker.feed(message)
    assert pair.worker.ended
    assert pair.worker.paid_mkudos == paid, "what was paid stays paid"
    with pytest.raises(OutOfTurn):
        pair.worker.result(2, png(), SALT, 5)


def test_settled_counts_once() -> None:
    pair = Pair().accepted().paid(0, 1, 2)
    pair.requester.feed(pair.worker.done())
    settled = pair.requester.settle(b"entry")
    pair.worker.feed(settled)
    with pytest.raises(Malformed, match="twice"):
        pair.worker.feed(settled)
    with pytest.raises(OutOfTurn, match="settled before"):
        pair.requester.settle(b"entry")


def test_a_requester_that_never_signs_costs_one_picture() -> None:
    """No second picture leaves before the voucher for the first; what a CLAIM shows is the last voucher that came."""
    pair = Pair().accepted().paid(0).billed(1)
    with pytest.raises(OutOfTurn, match="voucher must follow"):
        pair.worker.result(2, png(), SALT, 5)
    claim = pair.worker.claim()
    assert (claim.amount, claim.result) == (PRICE, bill(1).result)
    assert pair.worker.owed_mkudos - pair.worker.paid_mkudos == PRICE


# -- this side's own mistakes


def test_the_shell_is_told_when_it_speaks_out_of_turn() -> None:
    pair = Pair()
    for speak in (pair.worker.done, lambda: pair.worker.bill(WORKER), lambda: pair.worker.result(0, png(), SALT, 1)):
        with pytest.raises((OutOfTurn, ValueError)):
            speak()
    for speak in (
        lambda: pair.requester.pay(REQUESTER),
        lambda: pair.requester.settle(b"e"),
        pair.requester.receipt,
        pair.worker.claim,
    ):
        with pytest.raises(OutOfTurn):
            speak()
    with pytest.raises(OutOfTurn, match="no result 3"):
        pair.accepted().worker.result(3, png(), SALT, 1)
    with pytest.raises(OutOfTurn, match="0 of 3"):
        pair.worker.done()


def test_a_worker_does_not_send_what_its_engine_got_wrong() -> None:
    pair = Pair().accepted()
    with pytest.raises(Malformed, match="64x64"):
        pair.worker.result(0, png(128), SALT, 1)
    assert pair.worker.turn is Turn.DRAWING
    assert pair.requester.feed(pair.worker.fail("crashed")) == Failed("crashed")


# -- chaos


@given(st.lists(st.sampled_from(record_kinds()).flatmap(records) | st.binary(max_size=60), max_size=12))
def test_chaos_moves_no_money(messages: list[Record | bytes]) -> None:
    """Whatever arrives, in whatever order: an event, or Malformed and the end; never a bill paid without its picture."""
    requester, worker = Pair().accepted().requester, Pair().accepted().worker
    for message in messages:
        data = message if isinstance(message, bytes) else message.encode()
        for side in (requester, worker):
            try:
                side.feed(data)
            except Malformed:
                assert side.ended
    assert requester.owed_mkudos == worker.paid_mkudos == 0
    assert not requester.pictures
