"""Made-up peers extract what their maker earned, and nothing more, however many they are."""

from __future__ import annotations

import pytest

from tests.ledger.known import Known
from tests.ledger.people import author
from tests.ledger.sybils import HONEST_MKUDOS, MINTED_MKUDOS, attack


@pytest.mark.parametrize("sybils", [1, 10, 100, 1000])
def test_a_crowd_extracts_the_attack_edge_and_no_more(sybils: int) -> None:
    extracted = attack(sybils)
    assert extracted.by_charges == HONEST_MKUDOS
    assert extracted.by_identity == sybils * HONEST_MKUDOS, "what it would be without charges"
    assert extracted.by_balance == sybils * MINTED_MKUDOS, "what it would be by plain balance"


def test_what_they_took_survives_a_restart() -> None:
    """All is reckoned from the log: whoever starts anew charges the same."""
    me, attacker, first, second = (author(number) for number in range(4))
    known = Known(me)
    known.take(*attacker.entries, *first.entries, *second.entries)
    known.works(attacker, me, HONEST_MKUDOS)
    for sybil in (first, second):
        known.works(sybil, attacker, MINTED_MKUDOS)
    known.works(me, first, HONEST_MKUDOS)
    again = Known(me)
    again.take(*(entry for person in (attacker, first, second) for entry in person.entries))
    assert [again.credit(one) for one in (attacker, first, second)] == [0, 0, 0]


def test_sybils_among_themselves_make_nothing() -> None:
    me, *sybils = (author(number) for number in range(6))
    known = Known(me)
    for worker in sybils:
        for payer in sybils:
            if worker is not payer:
                known.works(worker, payer, MINTED_MKUDOS)
    assert [known.credit(sybil) for sybil in sybils] == [0] * 5
