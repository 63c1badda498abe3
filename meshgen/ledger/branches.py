"""What counts of an author who forked, from the fork on: every promise on every branch, so that nobody is let down twice.

The entries are a set, without an order and without a main branch. Each is asked all rules but those of its place; a RECEIPT or
RELEASE must come with its HOLD, which is either open before the fork or in the set, and may close it again on another branch.
Which holds are open before the fork is known once all entries below it are: until then those of the set alone can be closed, so
that what counts once goes on counting, in whatever order the entries come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from meshgen.ledger.errors import InvalidEntry
from meshgen.ledger.forks import ForkEvidence, convictions
from meshgen.ledger.rules import Chain, replay
from meshgen.protocols.credit import Claim, Entry, Hold, Receipt, Release, Transfer


def counting(prefix: Chain, forked_at: int, entries: Iterable[Entry]) -> list[Entry]:
    """Those of the set that count in the fold; entries are signed and sound.

    ``prefix`` is the author's chain below the fork, as far as it is known.
    """
    money = [entry for entry in entries if isinstance(entry.content, Hold | Receipt | Release | Claim | Transfer)]
    sound = [entry for entry in money if isinstance(entry.content, Receipt | Release) or _may_stand(prefix, entry)]
    holds = {entry.id: entry.content for entry in sound if isinstance(entry.content, Hold)}
    before = prefix.holds if prefix.head.seq >= forked_at - 1 else {}
    everything = replace(prefix, holds=before | holds, claims={})
    return [entry for entry in money if _may_stand(everything, entry)]


def heard(entries: Sequence[Entry], forks: Iterable[ForkEvidence]) -> list[Entry]:
    """The entries that count, of any authors: valid chains, and what there is of those who forked. The reference for folding."""
    forked = convictions(forks)
    found = [entry for entry in entries if entry.seq < forked.get(entry.author, entry.seq + 1)]
    for author, seq in forked.items():
        theirs = sorted({entry.id: entry for entry in entries if entry.author == author}.values(), key=lambda entry: entry.seq)
        prefix = replay(theirs[0].net, author, (entry for entry in theirs if entry.seq < seq)) if theirs else None
        found += counting(prefix, seq, [entry for entry in theirs if entry.seq >= seq]) if prefix else []
    return found


def _may_stand(chain: Chain, entry: Entry) -> bool:
    try:
        replace(chain, claims={}).check_content(entry)
    except InvalidEntry:
        return False
    return True
