"""Everything that decodes what others send, each with good and bad bytes to start from and the errors that it may raise.

A decoder that is added to a protocol's VECTOR_DECODERS is fuzzed without further ado.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile

from meshgen import protocols
from meshgen.identity import public_key_of
from meshgen.ledger.accounts import Accounts
from meshgen.ledger.books import Books
from meshgen.ledger.dues import pack, unpack
from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.export import Selection, jsonl
from meshgen.ledger.exported import NoExport, read_export
from meshgen.ledger.fold import balances, gather, gifts
from meshgen.ledger.judging import examine, read_links
from meshgen.ledger.promises import Promises
from meshgen.ledger.rules import Chain
from meshgen.peers.charter_file import CharterError, parse_charter
from meshgen.peers.charter_text import render_charter
from meshgen.pictures import PictureError, bare, check_png, text_of
from meshgen.protocols import job, offer
from meshgen.protocols.advert import Advert
from meshgen.protocols.charter import Charter, SignedCharter
from meshgen.protocols.codec import Limits, Malformed, decode, encode
from meshgen.protocols.credit import Claim, Entry, Receipt, decode_entry
from meshgen.protocols.envelope import sign, unsign
from meshgen.protocols.job_sides import RequesterSide, Turn, WorkerSide
from meshgen.protocols.record import Record, decode_any
from meshgen.settings.example import example
from meshgen.settings.load import SettingsError, load_settings
from tests.conformance.samples import REQUESTER, SAMPLES, WORKER
from tests.protocols.deals import make_deal, png

VECTORS = Path(__file__).resolve().parent.parent.parent / "protocols"
_MANY = Limits(max_bytes=96 * 1024, max_items=64, max_depth=1)
_AGREED = make_deal(2).terms()
_JOB_KINDS = tuple(kind for kind in SAMPLES if kind.__module__ == job.__name__)


@dataclass(frozen=True)
class Target:
    """``run`` either returns or raises one of ``documented``; anything else is a find."""

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    documented: tuple[type[Exception], ...] = (Malformed,)
    slow: bool = False
    """Whole files take a hundred times longer than messages: a tenth of the blind runs, and guided ones only by name."""

    def seed(self, rng: random.Random) -> bytes:
        """A good one, where there is one, three times out of four."""
        return rng.choice(self._good if self._good and rng.random() < 0.75 else self.seeds or (b"",))

    @cached_property
    def _good(self) -> tuple[bytes, ...]:
        return tuple(seed for seed in self.seeds if self.survives(seed))

    def survives(self, data: bytes) -> bool:
        """True if ``data`` was accepted. Raises what should never have come out."""
        try:
            self.run(data)
        except self.documented:
            return False
        return True


@cache
def targets() -> dict[str, Target]:
    """Every target by name."""
    return {target.name: target for target in (*_vector_targets(), *_envelopes(), *_ledger(), *_sides(), *_others())}


def _vector_targets() -> Iterator[Target]:
    seen = set()
    for module in pkgutil.walk_packages(protocols.__path__, protocols.__name__ + "."):
        protocol = module.name.removeprefix(protocols.__name__ + ".").split(".")[0]
        decoders = getattr(importlib.import_module(module.name), "VECTOR_DECODERS", {})
        for kind, decoder in decoders.items():
            if (protocol, kind) not in seen:
                seen.add((protocol, kind))
                yield Target(f"{protocol}/{kind.replace(' ', '-')}", _exact(decoder), _stored(protocol, kind))


def _exact(decoder: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """What was taken must encode to the very bytes that came: there is one form for each message."""

    def run(data: bytes) -> object:
        message = decoder(data)
        if isinstance(message, Entry):
            assert message.wire == data, "an entry of another form was taken"
        elif type(message) in SAMPLES:
            assert isinstance(message, Record)
            assert message.encode() == data or data not in message.encode(), "a record of another form was taken"
        return message

    return run


@cache
def _all_stored() -> tuple[dict[str, str], ...]:
    return tuple(json.loads(path.read_text()) for path in sorted(VECTORS.glob("*/vectors/*valid/*.json")))


def _stored(protocol: str, kind: str) -> tuple[bytes, ...]:
    told = (vector for vector in _all_stored() if (vector["protocol"], vector["kind"]) == (protocol, kind))
    return tuple(bytes.fromhex(vector["hex"]) for vector in told)


def _envelopes() -> Iterator[Target]:
    kinds = (Advert, offer.Offer, offer.Bid, offer.Refusal, offer.Award, offer.Cancel)
    seeds = tuple(sign(WORKER, SAMPLES[kind]).wire for kind in kinds)
    yield Target("envelope/any", lambda data: unsign(data, *kinds), seeds)
    records = tuple(SAMPLES[kind].encode() for kind in _JOB_KINDS)
    yield Target("record/any", lambda data: decode_any(data, _JOB_KINDS), records)


def _ledger() -> Iterator[Target]:
    """Past the signatures, which no mutation gets right: frame, rules and fold must bear whatever anybody may sign."""
    entries = _stored("credit", "entry")
    yield Target("ledger/entry-unsigned", lambda data: decode_entry(data, verify=False), entries)
    chains = [json.loads(path.read_text())["entries"] for path in sorted(VECTORS.glob("credit/chains/*valid/*.json"))]
    seeds = tuple(encode(tuple(bytes.fromhex(wire) for wire in wires)) for wires in chains)
    yield Target("ledger/chain", _fold_chain, seeds, (Malformed, InvalidEntry))
    yield Target("ledger/links", _links, seeds, (Malformed, InvalidEntry))
    yield Target("ledger/examine", _examine, seeds)


def _fold_chain(data: bytes) -> None:
    """What its author signed may say anything of anybody; as far as it is valid, it is added up."""
    entries = [decode_entry(wire, verify=False) for wire in _parts(data)]
    assert sum(balance.net for balance in balances(gather(entries), gifts(entries)).values()) == 0, "no sum of zero"
    books, accounts, promises = Books(), Accounts(), Promises()
    chain = Chain(entries[0].net, entries[0].author) if entries else None
    for entry in entries:
        assert chain is not None
        chain.append(entry, embedded=False)
        books.add(entry)
        promises.add(entry)
        accounts.add(entry)
        accounts.members(accounts.account_of(entry.author))
    assert sum(balance.net for balance in books.balances.values()) == 0, "no sum of zero"


def _links(data: bytes) -> None:
    """Head mode: one signature, and the links before it. What it takes must be what an entry's own decoder reads."""
    wires = _parts(data)
    for link in read_links(*_chain_of(wires), wires):
        assert type(link.seq) is int
        assert type(link.kind) is int


def _examine(data: bytes) -> None:
    """Never raises but for what is no array of wires."""
    wires = _parts(data)
    found = examine(*_chain_of(wires), wires)
    assert (found.fault is None) == (len(found.entries) == len(wires))


def _chain_of(wires: list[bytes]) -> tuple[bytes, bytes]:
    """The mesh and author that the first wire names."""
    if not wires:
        return bytes(16), bytes(32)
    first = decode_entry(wires[0], verify=False)
    return first.net, first.author


def _sides() -> Iterator[Target]:
    """A whole run of messages from the other side of a job."""
    from_worker, from_requester = _honest_job()
    yield Target("job_sides/requester", _requester, (encode(from_worker),))
    yield Target("job_sides/worker", _worker, (encode(from_requester),))


def _requester(data: bytes) -> RequesterSide:
    side = RequesterSide(_AGREED)
    for message in _parts(data):
        side.feed(message)
        if side.turn is Turn.PAYING:
            side.pay(REQUESTER)
    return side


def _worker(data: bytes) -> WorkerSide:
    side = WorkerSide(_AGREED)
    side.accept()
    _next_picture(side)
    for message in _parts(data):
        side.feed(message)
        if side.turn is Turn.DRAWING:
            _next_picture(side)
    return side


def _next_picture(side: WorkerSide) -> tuple[bytes, ...]:
    """What the worker sends next: a picture with its bill, or that it is done."""
    index = len(side.pictures)
    if index == _AGREED.count:
        return (side.done(),)
    return (side.progress(index, 1), *side.picture(index, png(), bytes(16), 5), side.bill(WORKER))


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


def _parts(data: bytes) -> list[bytes]:
    parts = decode(data, _MANY)
    if type(parts) is not tuple or not all(type(part) is bytes for part in parts):
        raise Malformed("not an array of messages")
    return [part for part in parts if isinstance(part, bytes)]


def _others() -> Iterator[Target]:
    peers = (WORKER.peer_id.encode(), b"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
    yield Target("identity/peer-id", lambda data: public_key_of(data.decode("utf-8", "replace")), peers, (ValueError,))
    yield Target("pictures/png", _picture, (_real_png(), png()), (PictureError,))
    yield Target("files/charter", _charter, _charters(), (CharterError,), slow=True)
    yield Target("files/export", _export, _exports(), (NoExport,), slow=True)
    own = (example().encode(), b"worker:\n  slots: 2001-12-13\n", b"? [a]\n: !!bool b\n")
    yield Target("files/settings", _settings, own, (SettingsError,), slow=True)
    yield Target("files/due", lambda data: unpack(data[0], data[1:]) if data else None, _dues())


def _charter(data: bytes) -> None:
    signed = parse_charter(data.decode("utf-8", "replace"))
    assert parse_charter(render_charter(signed)) == signed, "what was read is not what is written out"


def _charters() -> tuple[bytes, ...]:
    charter = SignedCharter.unsigned(Charter("mesh", delegates=(WORKER.public_key,), threshold=1))
    plain = SignedCharter.unsigned(Charter("plain"))
    written = [render_charter(one).encode() for one in (charter.signed_by(WORKER), plain)]
    return (*written, b"name: x\n", b"a: [b, {c: d}]\n", b"? [a]\n: b\n", b"a: &x [b]\nc: *x\n")


def _export(data: bytes) -> None:
    report = read_export(data.split(b"\n"))
    assert sum(balance.net for balance in report.story.balances().values()) == 0, "balances that don't sum to zero"
    assert all(str(fault) for fault in report.faults)


def _exports() -> tuple[bytes, ...]:
    chains = [json.loads(path.read_text())["entries"] for path in sorted(VECTORS.glob("credit/folds/*.json"))]
    logs = [[decode_entry(bytes.fromhex(wire)) for wire in wires] for wires in chains]
    chosen = Selection(logs[0][0].net, b"")
    return tuple("\n".join(line.strip() for line in jsonl(chosen, entries)).encode() for entries in logs)


def _settings(data: bytes) -> None:
    with NamedTemporaryFile(suffix=".yaml") as file:
        file.write(data)
        file.flush()
        load_settings(Path(file.name))


def _dues() -> tuple[bytes, ...]:
    kinds = [entry.content for entry in map(decode_entry, _good_entries()) if isinstance(entry.content, Receipt | Claim)]
    return tuple(bytes([kind]) + data for kind, data in map(pack, kinds))


def _good_entries() -> tuple[bytes, ...]:
    good = (
        vector for vector in _all_stored() if (vector["protocol"], vector["kind"]) == ("credit", "entry") and "expect" in vector
    )
    return tuple(bytes.fromhex(vector["hex"]) for vector in good)


def _picture(data: bytes) -> None:
    with suppress(PictureError):
        text_of(data)
    check_png(data, 16, 16)
    check_png(bare(data), 16, 16)


def _real_png() -> bytes:
    from io import BytesIO

    from PIL import Image, PngImagePlugin

    out, told = BytesIO(), PngImagePlugin.PngInfo()
    told.add_text("parameters", "a")
    told.add_itxt("meshgen", "{}")
    Image.radial_gradient("L").resize((16, 16)).convert("RGB").save(out, "PNG", pnginfo=told)
    return out.getvalue()
