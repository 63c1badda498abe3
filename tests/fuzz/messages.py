"""Messages: every decoder of every protocol, alone, in its envelope, and in the middle of a job."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator

from meshgen import protocols
from meshgen.identity import public_key_of
from meshgen.protocols import job, offer
from meshgen.protocols.advert import Advert
from meshgen.protocols.codec import encode
from meshgen.protocols.credit import Entry
from meshgen.protocols.envelope import sign, unsign
from meshgen.protocols.job_sides import RequesterSide, Turn, WorkerSide
from meshgen.protocols.record import Record, decode_any
from tests.conformance.samples import REQUESTER, SAMPLES, WORKER
from tests.fuzz.target import Target, parts, vectors
from tests.protocols.deals import make_deal, png

_AGREED = make_deal(2).terms()
_JOB_KINDS = tuple(kind for kind in SAMPLES if kind.__module__ == job.__name__)


def message_targets() -> Iterator[Target]:
    yield from _vector_targets()
    yield from _envelopes()
    yield from _sides()
    peers = (WORKER.peer_id.encode(), b"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
    yield Target("identity/peer-id", lambda data: public_key_of(data.decode("utf-8", "replace")), peers, (ValueError,))


def _vector_targets() -> Iterator[Target]:
    seen = set()
    for module in pkgutil.walk_packages(protocols.__path__, protocols.__name__ + "."):
        protocol = module.name.removeprefix(protocols.__name__ + ".").split(".")[0]
        decoders = getattr(importlib.import_module(module.name), "VECTOR_DECODERS", {})
        for kind, decoder in decoders.items():
            if (protocol, kind) not in seen:
                seen.add((protocol, kind))
                yield Target(f"{protocol}/{kind.replace(' ', '-')}", _exact(decoder), vectors(protocol, kind))


def _exact(decoder: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """What was taken must encode to the very bytes that came: there is one form for each message."""

    def run(data: bytes) -> None:
        message = decoder(data)
        if isinstance(message, Entry):
            assert message.wire == data, "an entry of another form was taken"
        elif isinstance(message, Record) and getattr(decoder, "__self__", None) is type(message):
            assert message.encode() == data, "a record of another form was taken"

    return run


def _envelopes() -> Iterator[Target]:
    kinds = (Advert, offer.Offer, offer.Bid, offer.Refusal, offer.Award, offer.Cancel)
    seeds = tuple(sign(WORKER, SAMPLES[kind]).wire for kind in kinds)
    yield Target("envelope/any", lambda data: unsign(data, *kinds), seeds)
    records = tuple(SAMPLES[kind].encode() for kind in _JOB_KINDS)
    yield Target("record/any", lambda data: decode_any(data, _JOB_KINDS), records)


def _sides() -> Iterator[Target]:
    """A whole run of messages from the other side of a job."""
    from_worker, from_requester = _honest_job()
    yield Target("job_sides/requester", _requester, (encode(from_worker),))
    yield Target("job_sides/worker", _worker, (encode(from_requester),))


def _requester(data: bytes) -> RequesterSide:
    side = RequesterSide(_AGREED)
    for message in parts(data):
        side.feed(message)
        if side.turn is Turn.PAYING:
            side.pay(REQUESTER)
    return side


def _worker(data: bytes) -> WorkerSide:
    side = WorkerSide(_AGREED)
    side.accept()
    _next_picture(side)
    for message in parts(data):
        side.feed(message)
        if side.turn is Turn.DRAWING:
            _next_picture(side)
    return side


def _next_picture(side: WorkerSide) -> tuple[bytes, ...]:
    """What the worker sends next: a picture with its bill, or that it is done."""
    index = len(side.pictures)
    if index == _AGREED.count:
        return (side.done(),)
    return (side.progress(index, 1), *side.result(index, png(), bytes(16), 5), side.bill(WORKER))


def _honest_job() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """(what the worker sends, what the requester sends) when all goes well."""
    worker, requester = WorkerSide(_AGREED), RequesterSide(_AGREED)
    sent, answered = [worker.accept()], []
    requester.feed(sent[0])
    while not worker.ended:
        messages = _next_picture(worker)
        sent += messages
        for message in messages:
            requester.feed(message)
        if requester.turn is Turn.PAYING:
            answered.append(requester.pay(REQUESTER))
            worker.feed(answered[-1])
    return tuple(sent), (*answered, requester.settle(b"an entry"))
