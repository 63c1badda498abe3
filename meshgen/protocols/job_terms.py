"""What both sides of a job have agreed on: read off offer, bid, award, hold and work, once these are seen to fit together."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Literal

from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import Entry, Hold
from meshgen.protocols.envelope import Signed
from meshgen.protocols.job import MAX_RESULT_BYTES
from meshgen.protocols.offer import Award, Bid, Offer
from meshgen.protocols.order import FormOrder, Input, Order, TextOrder, WorkOrder

PNG_FRAME_BYTES = 64 * 1024
"""Room for what is not pixels; a form's JSON has no more."""
TOKEN_BYTES, TEXT_FRAME_BYTES = 256, 1024
Kind = Literal["picture", "text", "form"]


@dataclass(frozen=True, slots=True)
class Terms:
    """Made by :func:`terms`. ``payer`` is the requester's public key, ``payee`` the worker's."""

    net: bytes
    offer_id: bytes
    hold_id: bytes
    hold_seq: int  # its place in the payer's chain
    job: bytes  # the hold's name for it
    payer: bytes
    payee: bytes
    mkudos: int  # for one result
    kind: Kind
    width: int
    """Pixels of the result, where it is a picture; so is the height."""
    height: int
    steps: int
    """Of a text: tokens."""
    seeds: tuple[int, ...] = field(repr=False)
    inputs: tuple[Input, ...] = ()
    """What the requester sends along."""
    features: tuple[str, ...] = ()
    """What was offered to be asked for."""

    @property
    def count(self) -> int:
        return len(self.seeds)

    @property
    def input_bytes(self) -> int:
        return sum(given.size for given in self.inputs)

    @property
    def max_result_bytes(self) -> int:
        """No PNG of this size needs more: 8 bytes a pixel (RGBA of 16 bits, uncompressed) and its frame. A token is no novel."""
        if self.kind == "text":
            return TOKEN_BYTES * self.steps + TEXT_FRAME_BYTES
        return min(MAX_RESULT_BYTES, 8 * self.width * self.height + PNG_FRAME_BYTES)

    def check_result(self, data: bytes | bytearray) -> None:
        """The cheap part of "is it what was ordered": a text is UTF-8, a form's answer a JSON object or a picture, a picture has
        PNG's signature and the size in its first chunk. Raises Malformed."""
        if self.kind == "text" or (self.kind == "form" and data.startswith(b"{")):
            if self.kind == "form" and len(data) > PNG_FRAME_BYTES:
                raise Malformed(f"what a form found has {len(data)} bytes, more than {PNG_FRAME_BYTES}")
            try:
                data.decode()
            except UnicodeDecodeError:
                raise Malformed("the result is not a text in UTF-8") from None
        elif not data.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", self.width, self.height)):
            raise Malformed(f"the picture is not a PNG of {self.width}x{self.height} pixels")


def terms(offer: Signed[Offer], bid: Signed[Bid], award: Signed[Award], hold: Entry, work: Order) -> Terms:
    """Do all five speak of one job? Raises Malformed that names the first that doesn't. Time and standing are not judged here."""
    asked, bade, awarded = offer.message, bid.message, award.message
    held = Hold.from_entry(hold)
    facts = {
        "award: signed by another peer than the offer": award.author == offer.author,
        "bid.net, award.net or hold.net: not the offer's mesh": asked.net == bade.net == awarded.net == hold.net,
        "bid.offer_id: another offer": bade.offer_id == offer.id,
        "bid.mkudos: more than the offer allows": bade.mkudos <= asked.max_mkudos,
        "award.offer_id: another offer": awarded.offer_id == offer.id,
        "award.bid_id: another bid": awarded.bid_id == bid.id,
        "award.count: more than was bid for": awarded.count <= min(bade.count, asked.count),
        "award.hold_id: another hold": awarded.hold_id == hold.id,
        "hold: by another peer than the offer": hold.author == offer.author,
        "hold.payee: another worker": held.payee == bid.author,
        "hold.payee_head: not the head of the bid": (held.payee_seq, held.payee_head) == (bade.head_seq, bade.head_id),
        "hold.amount: less than the pictures cost": held.amount >= awarded.count * bade.mkudos,
        "work.offer_id: another offer": work.offer_id == offer.id,
        "work.model: not the offer's": work.model == asked.model,
        "work.digest: not the bid's, or not the offer's": work.digest == bade.digest and asked.digest in (b"", work.digest),
        "work.seeds: not one for each picture awarded": len(work.seeds) == awarded.count,
        **_measures(asked, work),
    }
    for complaint, agreed in facts.items():
        if not agreed:
            raise Malformed(complaint)
    return Terms(
        net=asked.net,
        offer_id=offer.id,
        hold_id=hold.id,
        hold_seq=hold.seq,
        job=held.job,
        payer=offer.author,
        payee=bid.author,
        mkudos=bade.mkudos,
        kind="text" if isinstance(work, TextOrder) else "form" if isinstance(work, FormOrder) else "picture",
        width=asked.width * asked.enlarge,
        height=asked.height * asked.enlarge,
        steps=asked.steps or asked.tokens or 1,
        seeds=work.seeds,
        inputs=work.inputs,
        features=asked.features,
    )


def _measures(asked: Offer, work: Order) -> dict[str, bool]:
    """Is it as much work as was offered, and of that kind?"""
    sources = {given.role for given in work.inputs} & {"source"}
    facts = {
        "work: of another kind than the offer's family": (asked.family == "text") == isinstance(work, TextOrder)
        and (asked.family == "alchemy") == isinstance(work, FormOrder),
        "work: it needs other adapters than the offer names": work.needs
        == tuple(sorted((need.kind, need.digest) for need in asked.needs)),
        "work: it needs a feature that the offer does not name": work.features <= set(asked.features),
    }
    match work:
        case TextOrder():
            facts["work.tokens or .context: not the offer's"] = (work.tokens, work.context) == (asked.tokens, asked.context)
        case FormOrder():
            facts["work.width or .height: not the offer's"] = (work.width, work.height) == (asked.width, asked.height)
        case WorkOrder():
            facts["work.width or .height: not the offer's"] = (work.width, work.height) == (asked.width, asked.height)
            facts["work.steps: not the offer's"] = work.steps == asked.steps
            facts["work.hires_fix: not the offer's"] = bool(work.hires_fix) == ("hires_fix" in asked.features)
            from_picture = not sources or bool({"img2img", "inpainting"} & set(asked.features))
            facts["work.inputs: the offer says nothing of a source"] = from_picture
            returns_map = any(control.return_map for control in work.control)
            facts["work: a map is not enlarged"] = asked.enlarge == 1 or not returns_map
    return facts
