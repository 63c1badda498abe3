"""Offer, bid, award, hold and work must speak of one job; each that doesn't is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshgen.identity import Identity
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Genesis, Hold, make_entry
from meshgen.protocols.envelope import sign
from tests.conformance.samples import NOW_MS, REQUESTER, WORKER, h
from tests.protocols.deals import PRICE, SIDE, Deal, make_deal, make_hold, png

DEAL = make_deal()
OTHER = Identity.from_seed(h("a third peer"))
HELD = Hold.from_entry(DEAL.hold)


def bad_award(**changes: object) -> Deal:
    return replace(DEAL, award=sign(REQUESTER, replace(DEAL.award.message, **changes)))


def bad_bid(**changes: object) -> Deal:
    bid = sign(WORKER, replace(DEAL.bid.message, **changes))
    return replace(DEAL, bid=bid, award=sign(REQUESTER, replace(DEAL.award.message, bid_id=bid.id)))


def bad_hold(**changes: object) -> Deal:
    hold = make_hold(replace(HELD, **changes))
    return replace(DEAL, hold=hold, award=sign(REQUESTER, replace(DEAL.award.message, hold_id=hold.id)))


def bad_work(**changes: object) -> Deal:
    return replace(DEAL, work=replace(DEAL.work, **changes))


def test_a_deal_that_fits() -> None:
    terms = DEAL.terms()
    assert (terms.payer, terms.payee, terms.mkudos, terms.count) == (REQUESTER.public_key, WORKER.public_key, PRICE, 3)
    assert (terms.hold_id, terms.job, terms.seeds) == (DEAL.hold.id, HELD.job, (7, 8, 9))
    assert "seeds" not in repr(terms)


@pytest.mark.parametrize(
    ("deal", "why"),
    [
        (replace(DEAL, award=sign(OTHER, DEAL.award.message)), "award: signed by another peer"),
        (bad_award(net=bytes(16)), "mesh"),
        (bad_award(offer_id=h("x")), "award.offer_id"),
        (bad_award(bid_id=h("x")), "award.bid_id"),
        (bad_award(hold_id=h("x")), "award.hold_id"),
        (bad_award(count=4), "award.count"),
        (bad_award(count=2), "work.seeds"),
        (bad_bid(offer_id=h("x")), "bid.offer_id"),
        (bad_bid(mkudos=1001), "bid.mkudos"),
        (bad_bid(count=2), "award.count"),
        (bad_bid(net=bytes(16)), "mesh"),
        (bad_hold(payee=OTHER.public_key), "hold.payee"),
        (bad_hold(amount=3 * PRICE - 1), "hold.amount"),
        (bad_hold(payee_seq=4), "hold.payee_head"),
        (bad_hold(payee_head=h("x")), "hold.payee_head"),
        (bad_work(offer_id=h("x")), "work.offer_id"),
        (bad_work(model="another"), "work.model"),
        (bad_work(digest=h("x")), "work.digest"),
        (bad_work(width=72), "work.width"),
        (bad_work(height=72), "work.width or .height"),
        (bad_work(steps=21), "work.steps"),
        (bad_work(seeds=(1, 2)), "work.seeds"),
        (replace(DEAL, bid=make_deal(nonce=b"n" * 16).bid), "bid.offer_id"),  # a bid replayed for a second offer
        (replace(DEAL, hold=make_deal(nonce=b"n" * 16).hold), "award.hold_id"),
    ],
)
def test_what_does_not_fit_is_named(deal: Deal, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        deal.terms()


def test_an_entry_that_is_no_hold_is_refused() -> None:
    genesis = make_entry(REQUESTER, DEAL.hold.net, 1, b"", NOW_MS, kind=0, data=Genesis(b"", h("next"), "x").data())
    with pytest.raises(Malformed, match="hold"):
        replace(DEAL, hold=genesis).terms()


@pytest.mark.parametrize("picture", [b"", b"GIF89a", png()[:20], png(72), png(SIDE, 72), b"\0" + png()])
def test_a_picture_is_a_png_of_the_size_that_was_ordered(picture: bytes) -> None:
    DEAL.terms().check_result(png())
    with pytest.raises(Malformed, match="64x64"):
        DEAL.terms().check_result(picture)
