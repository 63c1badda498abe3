"""Vectors of the entries that are no part of a job: gifts, vouches, advisories, keys, checkpoints, proofs, charters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from meshgen.identity import Identity
from meshgen.ledger.forks import ForkEvidence, fork_between
from meshgen.protocols.credit import (
    ADD,
    MAX_PROMISE_MS,
    RECOVER,
    RETIRE,
    ROTATE,
    Advisory,
    Bill,
    Branch,
    BranchRequest,
    BucketRequest,
    CharterEntry,
    Checkpoint,
    Cosig,
    Entry,
    Frontier,
    Genesis,
    Hold,
    Key,
    News,
    Prints,
    PrintsRequest,
    Proof,
    Proofs,
    ProofsRequest,
    Receipt,
    Release,
    Transfer,
    Vouch,
    Witness,
    WitnessRequest,
    make_entry,
)
from tests.protocols.credit_story import (
    NET,
    PAYEE,
    PAYEE_CHAIN,
    PAYER,
    THIRD,
    TS,
    chain,
    claim,
    consent,
    genesis,
    h,
    hold,
    receipt,
)

LATER = TS + 10**9
NEXT = Identity.from_seed(h("the next key"))
TABLET = Identity.from_seed(h("a tablet"))
START = (0, genesis("laptop"))

TRANSFER = Transfer(PAYEE.public_key, 500, 0, h("an entry"))
VOUCH = Vouch(h("an account"), 5_000, LATER, 0)
ADVISORY = Advisory("clean", 0, 0, h("an account"), "sends noise", 2, LATER, h("why"))
ADD_TABLET = Key(ADD, TABLET.public_key, b"", 0, b"", 50_000)
CHARTER = CharterEntry(h("document"), 3, h("document before"))


def _key_hash(identity: Identity) -> bytes:
    return hashlib.sha256(identity.public_key).digest()


def witness(by: Identity = THIRD, **changes: Any) -> Witness:
    plain = Witness(NET, PAYER.public_key, 1, h("upto"), 7, 8, 9, h("peers"), by.public_key)
    return replace(plain, **changes).sign(by)


def checkpoint(*notes: Witness) -> Checkpoint:
    return Checkpoint(1, h("upto"), 7, 8, 9, h("peers"), tuple(Cosig(note.witness, note.sig) for note in notes))


# -- a fork of PAYER's at its second entry

TRUNK = chain(PAYER, START)
LEFT = chain(PAYER, START, (1000, lambda _: hold("job 1", 10_000)), (2000, lambda past: receipt(past[1], 6_000)))
RIGHT = chain(PAYER, START, (1500, lambda _: hold("job 2", 10_000)), (2500, lambda past: receipt(past[1], 5_000)))


def fork(one: Entry, other: Entry) -> ForkEvidence:
    found = fork_between(one, other)
    assert found is not None
    return found


FORK = fork(LEFT[1], RIGHT[1])


def proof(evidence: ForkEvidence = FORK) -> Proof:
    content = evidence.as_content()
    assert content is not None
    return content


def big(name: str) -> Entry:
    """As long as an entry may be that a PROOF can hold."""
    data = (h(name), bytes(785), bytes(32))
    return make_entry(PAYER, NET, 2, TRUNK[0].id, TS, kind=255, data=data)


def valid_messages() -> Iterator[tuple[str, str, bytes]]:
    """(name, kind, bytes)."""
    yield "entry-proof-large", "entry", chain(THIRD, START, (1, lambda _: proof(fork(big("a"), big("b")))))[1].wire
    for content in (TRANSFER, VOUCH, ADVISORY, ADD_TABLET, CHARTER, proof(), checkpoint(), checkpoint(witness())):
        name = f"entry-{content.TAG}" + ("-witnessed" if isinstance(content, Checkpoint) and content.cosigs else "")
        yield name, "entry", chain(THIRD, START, (1, lambda _, content=content: content))[1].wire
    yield "witness", "witness", witness().encode()
    yield "witness-request", "witness?", WitnessRequest(NET, PAYER.public_key, 1, h("upto"), 7, 8, 9, h("peers")).encode()
    yield "prints-request", "prints?", PrintsRequest(NET).encode()
    yield "prints", "prints", Prints(NET, bytes(range(256)) * 16, h("proofs")[:16]).encode()
    yield "bucket-request", "bucket?", BucketRequest(NET, 255, b"").encode()
    yield "bucket-request-after", "bucket?", BucketRequest(NET, 0, PAYER.public_key).encode()
    yield "fork", "fork", FORK.as_message().encode()
    yield "proofs-request", "proofs?", ProofsRequest(NET, b"").encode()
    yield "proofs", "proofs", Proofs(NET, (FORK.as_message(),)).encode()
    yield "branch-request", "branch?", BranchRequest(NET, PAYER.public_key, 2, LEFT[1].id).encode()
    yield "branch", "branch", Branch(NET, PAYER.public_key, tuple(entry.wire for entry in RIGHT[1:])).encode()
    yield "news", "news", News(NET, (Frontier(PAYER.public_key, 2, LEFT[1].id),), (FORK.as_message(),)).encode()


def bad_fields() -> Iterator[tuple[str, Any, int, object, str]]:
    """(name, a good content, the index of a field, what stands there instead, part of the error)."""
    yield "transfer-payee-31-bytes", TRANSFER, 0, bytes(31), "transfer.payee"
    yield "transfer-reason-256", TRANSFER, 2, 256, "transfer.reason"
    yield "vouch-limit-over-2-to-the-40", VOUCH, 1, 2**40 + 1, "vouch.limit"
    yield "vouch-revoke-2", VOUCH, 3, 2, "vouch.revoke"
    yield "advisory-without-a-list", ADVISORY, 0, "", "advisory.list"
    yield "advisory-label-65", ADVISORY, 4, "x" * 65, "advisory.label"
    yield "key-of-33-bytes", ADD_TABLET, 1, bytes(33), "key.key"
    yield "checkpoint-upto-0", checkpoint(), 0, 0, "checkpoint.upto_seq"
    yield "checkpoint-six-witnesses", checkpoint(), 6, [["c", h("w"), bytes(64)]] * 6, "checkpoint.cosigs"
    yield "proof-with-an-empty-body", proof(), 1, b"", "proof.body_a"
    yield "proof-body-1025", proof(), 1, bytes(1025), "proof.body_a"
    yield "charter-hash-of-16-bytes", CHARTER, 0, bytes(16), "charter.doc_hash"


def bad_messages() -> Iterator[tuple[str, str, bytes, str]]:
    """(name, kind, bytes, part of the error)."""
    good = witness()
    yield "witness-for-other-sums", "witness", replace(good, spent=10).encode(), "signature"
    yield "witness-by-another", "witness", replace(good, witness=PAYEE.public_key).encode(), "signature"
    for name, kind, data in valid_messages():
        if kind not in ("entry", "witness") and not name.endswith("-after"):
            yield f"{name}-trailing-byte", kind, data + b"\0", "not"


# -- chains


def _after_genesis(*contents: Any, who: Identity = PAYER) -> list[Entry]:
    return chain(who, START, *[(1000 * number, lambda _, content=content: content) for number, content in enumerate(contents, 1)])


def rotating(next_key: Identity, *more: Any) -> list[Entry]:
    first = (0, lambda _: Genesis(b"", _key_hash(NEXT), "laptop"))
    rotate = (1000, lambda _: Key(ROTATE, next_key.public_key, h("the one after"), 0, b"", 0))
    return chain(PAYER, first, rotate, *[(2000, lambda _, content=content: content) for content in more])


RECOVERY = Key(RECOVER, PAYER.public_key, b"", 2, LEFT[1].id, 0)


def good_chains() -> Iterator[tuple[str, Sequence[Entry]]]:
    yield "words", _after_genesis(TRANSFER, VOUCH, replace(VOUCH, revoke=1), ADVISORY, CHARTER, ADD_TABLET)
    yield "checkpoint", _after_genesis(checkpoint(witness(THIRD)), checkpoint())
    yield "proof", _after_genesis(proof(), who=THIRD)
    yield "rotated", rotating(NEXT)
    yield "recovered", _after_genesis(RECOVERY, who=NEXT)


def bad_chains() -> Iterator[tuple[str, Sequence[Entry], int, str]]:
    """(name, entries, number of the first that may not stand, part of the error)."""
    yield "transfer-to-oneself", _after_genesis(replace(TRANSFER, payee=PAYER.public_key)), 2, "oneself"
    yield "transfer-of-nothing", _after_genesis(replace(TRANSFER, amount=0)), 2, "nothing"
    yield "vouch-for-oneself", _after_genesis(replace(VOUCH, account=TRUNK[0].id)), 2, "own account"
    yield "vouch-that-has-expired", _after_genesis(replace(VOUCH, expires_ms=TS + 1000)), 2, "time ahead"
    yield "vouch-for-ever", _after_genesis(replace(VOUCH, expires_ms=TS + 1001 + MAX_PROMISE_MS)), 2, "time ahead"
    yield "advisory-that-has-expired", _after_genesis(replace(ADVISORY, expires_ms=TS)), 2, "time ahead"
    yield "charter-0-with-a-parent", _after_genesis(replace(CHARTER, version=0)), 2, "parent"
    yield "charter-1-without-a-parent", _after_genesis(replace(CHARTER, version=1, parent=b"")), 2, "parent"
    yield "key-about-itself", _after_genesis(replace(ADD_TABLET, key=PAYER.public_key)), 2, "about itself"
    yield "added-with-a-next-key", _after_genesis(replace(ADD_TABLET, next_hash=h("x"))), 2, "next_hash"
    yield "retired-nowhere", _after_genesis(replace(ADD_TABLET, op=RETIRE, budget=0)), 2, "at_id"
    half = replace(ADD_TABLET, op=RETIRE, budget=0, at_id=h("x"))
    yield "retired-at-an-id-without-number", _after_genesis(half), 2, "together"
    yield "retired-with-a-budget", _after_genesis(replace(half, at_seq=1, budget=1)), 2, "budget"
    yield "rotated-to-another-key", rotating(TABLET), 2, "committed"
    yield "written-after-rotation", rotating(NEXT, TRANSFER), 3, "closed"
    yield "recovered-late", _after_genesis(TRANSFER, RECOVERY, who=NEXT), 3, "second entry"
    yield "checkpoint-of-itself", _after_genesis(replace(checkpoint(), upto_seq=2)), 2, "before it"
    unsigned = replace(checkpoint(witness()), spent=10)
    yield "checkpoint-witnessed-otherwise", _after_genesis(unsigned), 2, "witness has not signed"
    yield "checkpoint-witnessed-twice", _after_genesis(checkpoint(witness(), witness())), 2, "each once"
    own = Cosig(PAYER.public_key, bytes(64))
    yield "checkpoint-witnessed-by-itself", _after_genesis(replace(checkpoint(), cosigs=(own,))), 2, "others"
    plain = proof()
    swapped = replace(plain, body_a=plain.body_b, sig_a=plain.sig_b, body_b=plain.body_a, sig_b=plain.sig_a)
    yield "proof-in-the-other-order", _after_genesis(swapped), 2, "smaller id"
    twice = replace(plain, body_b=plain.body_a, sig_b=plain.sig_a)
    yield "proof-of-one-entry", _after_genesis(twice), 2, "prove no fork"
    elsewhere = replace(plain, body_b=LEFT[2].body, sig_b=LEFT[2].sig)
    yield "proof-of-two-places", _after_genesis(elsewhere), 2, "proves nothing"
    forged = replace(plain, sig_a=bytes(64))
    yield "proof-with-a-forged-signature", _after_genesis(forged), 2, "proves nothing"


# -- folds: (name, entries, proofs)


def folds() -> Iterator[tuple[str, Sequence[Entry], Sequence[ForkEvidence]]]:
    gift = _after_genesis(TRANSFER)
    yield "a-gift", gift, ()
    yield "both-branches-owe", [*LEFT, *RIGHT[1:]], (FORK,)
    forked = [make_entry(PAYEE, NET, 1, b"", TS + 1, kind=0, data=genesis("other")([]).data()), *PAYEE_CHAIN]
    early = fork(forked[0], forked[1])
    yield "a-payee-who-had-forked", LEFT, (early,)
    before = fork(*[make_entry(PAYEE, NET, 2, PAYEE_CHAIN[0].id, TS + ms, kind=255, data=()) for ms in (1, 2)])
    yield "a-payee-who-forked-later", LEFT, (before,)
    yield "a-forker-books-on-anothers-hold", [*LEFT[:2], *_booking()], (fork(*_booking()[1:3]),)
    yield "a-forker-releases-with-a-forged-consent", [*LEFT[:2], *_claimed(), *_releasing(bytes(64))], (FORK,)
    yield "a-forker-releases-with-a-consent", [*LEFT[:2], *_claimed(), *_releasing(consent(LEFT[1]).sig)], (FORK,)
    loan = make_entry(PAYER, NET, 2, TRUNK[0].id, TS + 1, kind=4, data=replace(TRANSFER, payee=PAYER.public_key).data())
    yield "a-forker-gives-to-itself", [*LEFT[:2], loan], (fork(LEFT[1], loan),)
    yield "a-gift-to-one-who-forked", gift, (early,)


def _booking() -> list[Entry]:
    """THIRD forked, and on one branch pays with PAYER's HOLD."""
    start = chain(THIRD, START)
    bill = Bill(NET, Hold.from_entry(LEFT[1]).job, LEFT[1].id, THIRD.public_key, PAYEE.public_key, 9_000, h("result")).sign(PAYEE)
    paying = Receipt(bill.job, bill.hold_id, bill.payee, bill.amount, bill.result, 1, bill.sig)
    ends = (
        make_entry(THIRD, NET, 2, start[0].id, TS + 1, kind=kind, data=data) for kind, data in ((2, paying.data()), (255, ()))
    )
    return [*start, *ends]


def _claimed() -> list[Entry]:
    return [*PAYEE_CHAIN, make_entry(PAYEE, NET, 2, PAYEE_CHAIN[0].id, TS + 9, kind=3, data=claim(LEFT[1], 4_000).data())]


def _releasing(sig: bytes) -> list[Entry]:
    """PAYER forked, and takes its HOLD of the left branch back on the right one."""
    return [RIGHT[1], make_entry(PAYER, NET, 3, RIGHT[1].id, TS + 3000, kind=14, data=Release(LEFT[1].id, 1, sig).data())]


# -- accounts: (name, entries, key -> account)


def accounts() -> Iterator[tuple[str, Sequence[Entry], dict[bytes, bytes]]]:
    root = _after_genesis(ADD_TABLET)
    account = root[0].id
    tablet = chain(TABLET, (0, lambda _: Genesis(account, h("n"), "tablet")))
    both = {PAYER.public_key: account, TABLET.public_key: account}
    yield "alone", root, {PAYER.public_key: account}
    yield "a-device", [*tablet, *root], both
    yield "a-device-that-nobody-added", [*tablet, *root[:1]], {PAYER.public_key: account, TABLET.public_key: TABLET.public_key}
    other = chain(TABLET, (0, genesis("tablet")))
    yield "a-stranger-that-was-added", [*other, *root], {PAYER.public_key: account, TABLET.public_key: other[0].id}
    rotated = rotating(NEXT)
    moved = chain(NEXT, (2000, lambda _: Genesis(rotated[0].id, h("the one after"), "laptop")))
    yield "rotated", [*rotated, *moved], {PAYER.public_key: rotated[0].id, NEXT.public_key: rotated[0].id}
    other_next = chain(NEXT, (2000, lambda _: Genesis(rotated[0].id, h("something else"), "laptop")))
    alone = {PAYER.public_key: rotated[0].id, NEXT.public_key: NEXT.public_key}
    yield "rotated-and-committed-otherwise", [*rotated, *other_next], alone
    lost = chain(PAYER, (0, lambda _: Genesis(b"", _key_hash(NEXT), "laptop")), (1, lambda _: ADD_TABLET))
    saved = chain(
        NEXT,
        (2000, lambda _: Genesis(lost[0].id, h("n"), "laptop")),
        (2001, lambda _: replace(RECOVERY, at_seq=1, at_id=lost[0].id)),
    )
    late = chain(TABLET, (0, lambda _: Genesis(lost[0].id, h("n"), "tablet")))
    members = {PAYER.public_key: lost[0].id, NEXT.public_key: lost[0].id, TABLET.public_key: TABLET.public_key}
    yield "recovered-from-before-a-thief-added-a-device", [*lost, *saved, *late], members
    thief = chain(THIRD, (0, lambda _: Genesis(lost[0].id, h("n"), "thief")), (1, lambda _: replace(RECOVERY, at_seq=1)))
    yield "recovered-by-another-key", [*lost[:1], *thief], {PAYER.public_key: lost[0].id, THIRD.public_key: THIRD.public_key}
