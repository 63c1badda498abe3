"""What others hold against this peer, as far as its own log tells: without it all that its owner sees are refusals."""

from __future__ import annotations

import logging

from meshgen.ledger.errors import Unusable
from meshgen.ledger.ledger import Ledger


def own_trouble(ledger: Ledger) -> str:
    """In a sentence for its owner, with the cure; "" if there is none."""
    if fault := ledger.fault():
        return f"{fault}: until then this node asks for nothing and works for nobody"
    if ledger.is_restored:
        return (
            "this home came from a backup: nothing is written into its credit log, so nothing can be asked for or earned, until a"
            " peer that keeps this log has said where it ends. If the node never ran since the backup: `meshgen restore --newest`"
        )
    if ledger.is_copied and not ledger.confirmed:
        return (
            "this home is a copy (moved, or put back by hand?): nothing is written into its credit log until everybody who may"
            " have dealt with it has said where that ends, or three minutes are over"
        )
    standing = ledger.standing(ledger.identity.public_key)
    if standing.forked:
        return (
            "this key has signed two histories (a restored copy, two processes, a thief), so nobody serves it: "
            "`meshgen account recover`"
        )
    if standing.retired:
        return "this key was retired or recovered by its account, so nobody serves it: begin with a fresh home"
    if standing.over_budget:
        return "this device owes all that its account lets it owe: a device above it can raise that, `meshgen account add-device`"
    return ""


def level_of(error: Exception, usual: int = logging.INFO) -> int:
    """A log that can't be written was told of when it broke: what fails for it later is no news."""
    return logging.DEBUG if isinstance(error, Unusable) else usual
