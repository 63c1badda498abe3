"""One attacker who worked honestly for a while, and the peers he made up behind him: what do they get out of one honest peer?

Everything is real: chains, receipts, the fold, the graph. The attacker owes each Sybil any sum, as he signs whatever he likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from meshgen.identity import Identity
from meshgen.protocols.credit import Genesis
from tests.ledger.known import Known
from tests.ledger.people import Author, author

HONEST_MKUDOS = 100_000
"""The attack edge: what the attacker did for the honest peer."""
MINTED_MKUDOS = 1_000_000_000
"""What he signs over to each Sybil, at no cost."""
JOB_MKUDOS = 30_000


@dataclass(frozen=True, slots=True)
class Extracted:
    """Milli-kudos of service before strangers, by three ways to reckon standing."""

    sybils: int
    by_balance: int
    """Each Sybil's balance in the log."""
    by_identity: int
    """The maximum flow to each, as if no other had used it."""
    by_charges: int
    """Credit, charged along its paths as it is used: what this mesh does."""


def attack(sybils: int) -> Extracted:
    known = Known(author(0))
    attacker, made_up = author(1), [_sybil(number) for number in range(sybils)]
    for person in (attacker, *made_up):
        known.take(*person.entries)
    known.works(attacker, known.me, HONEST_MKUDOS)
    for sybil in made_up:
        known.works(sybil, attacker, MINTED_MKUDOS)
    by_balance = sum(known.books.balance(sybil.key).net for sybil in made_up)
    by_identity = sum(known.credit(sybil) for sybil in made_up)
    return Extracted(sybils, by_balance, by_identity, _take_all(known, made_up))


def _take_all(known: Known, sybils: list[Author]) -> int:
    """Each asks for jobs for as long as it stands above strangers; then the next one does."""
    taken = 0
    for sybil in sybils:
        while (credit := known.credit(sybil)) > 0:
            amount = min(credit, JOB_MKUDOS)
            known.works(known.me, sybil, amount)
            taken += amount
    return taken


def _sybil(number: int) -> Author:
    person = Author(Identity.from_seed(sha256(b"sybil %d" % number).digest()))
    person.write(Genesis(b"", bytes(32), "sybil"))
    return person
