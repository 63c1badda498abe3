"""How a home's log is taken up again: the stored fold where there is one, and what was written after it.

Signatures were judged when an entry was written; the rules are applied again to what the stored fold does not cover.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshgen.ledger import snapshot
from meshgen.ledger.errors import BadChain, InvalidEntry, LedgerError
from meshgen.ledger.log import FOLD_KEY, Log
from meshgen.ledger.rules import Chain
from meshgen.ledger.store import Store
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import (
    ADVISORY,
    FORK,
    GENESIS,
    KEY,
    MAX_RANGE_ENTRIES,
    NO_HEAD,
    PROOF,
    VOUCH,
    Entry,
    Head,
    Proof,
    entry_id,
)

_WORDS = (GENESIS, KEY, VOUCH, ADVISORY, PROOF)


def load(store: Store, net: bytes, own: bytes) -> Log:
    """Raises LedgerError if the home is another mesh's, or its own chain is damaged."""
    log = Log(store, net, own)
    _check_owner(log)
    for fork in store.forks():
        known = log.forks.get(fork.author)
        if known is None or (fork.seq, fork.ids) < (known.seq, known.ids):
            log.forks[fork.author] = fork
    log.dues = {due.hold_id: due for due in store.dues()}
    _take_up(log)
    for author, (upto_seq, state) in store.pruned().items():
        _restore(log, author, upto_seq, state)
    unjudged = store.unjudged()
    for author in store.authors():
        _load_chain(log, author)
        if author in unjudged and (end := store.end(author)).seq > log.chain(author).head.seq:
            log.tails[author] = end
    _load_branches(log)
    _hear(log)
    return log


def check_own(store: Store) -> Head:
    """Where the home's own chain ends, read from its first entry on. Raises LedgerError as :func:`load` does if it is damaged."""
    chain = Chain(store.meta("net"), store.meta("self"))
    try:
        for _ in _replay(store, chain):
            pass
    except BadChain as error:
        raise LedgerError(own_damage(error.seq, error.why)) from None
    return chain.head


def own_damage(seq: int, why: str) -> str:
    """What is said of it, whenever it is found: others' chains can be pulled again, the own one can't."""
    return f"the own chain is damaged at entry {seq} ({why}); restore it from a backup before going on"


def _check_owner(log: Log) -> None:
    store, held = log.store, log.store.meta("net")
    if held and held != log.net:
        raise LedgerError(f"this home belongs to the mesh {held.hex()}, not {log.net.hex()}; use another MESHGEN_HOME")
    for key, value in (("net", log.net), ("self", log.own)):
        if store.meta(key) != value:
            store.set_meta(key, value)


def _take_up(log: Log) -> None:
    """The stored fold, if each chain that it covers ends on disk where it says, and the own one is what was written."""
    stored = snapshot.unpack(log.net, log.store.meta(FOLD_KEY), log.reader.recall)
    if stored is None:
        log.books.forked = {author: fork.seq for author, fork in log.forks.items()}
        return
    books, chains, branches = stored
    starts = log.store.pruned()
    reach = all(_ends(log.store, chain) and chain.head.seq >= starts.get(chain.author, (0,))[0] for chain in chains)
    if not reach or not _is_as_written(log.store, log.own):
        log.books.forked = {author: fork.seq for author, fork in log.forks.items()}
        return
    books.dealt = log.books.dealt
    log.books = books
    log.chains.update((chain.author, chain) for chain in chains)
    log.heads.update((chain.author, chain.head) for chain in chains)
    log.branches.update(branches)
    for author, fork in log.forks.items():  # proved since
        if fork.seq < books.forked.get(author, fork.seq + 1):
            books.convict(author, fork.seq, log.closed_deals(author))


def _ends(store: Store, chain: Chain) -> bool:
    seq = chain.head.seq
    return store.ids(chain.author, seq, seq).get(seq) == chain.head.id


def _is_as_written(store: Store, own: bytes) -> bool:
    """The end of the own chain, which the node reads as soon as it runs."""
    last = store.end(own).seq
    return all(entry_id(row.body) == row.id for row in store.rows(own, last - MAX_RANGE_ENTRIES, last))


def _load_chain(log: Log, author: bytes) -> None:
    chain = log.chain(author)
    try:
        for entry in _replay(log.store, chain):
            log.enter(entry)
    except BadChain as error:
        _cut(log, author, error.seq, error.why)
    if chain.head != NO_HEAD:
        log.chains[author] = chain
        log.heads[author] = chain.head


def _replay(store: Store, chain: Chain) -> Iterator[Entry]:
    """What follows on disk, each entry once the chain has taken it in. Raises BadChain at the first that is none of it."""
    for row in store.chain(chain.author, after=chain.head.seq):
        try:
            entry = row.revive(verify=False)
            chain.append(entry, embedded=False)
        except (Malformed, InvalidEntry) as error:
            raise BadChain(row.seq, str(error)) from None
        yield entry


def _restore(log: Log, author: bytes, upto_seq: int, state: bytes) -> None:
    """The beginning of a chain whose entries are not kept."""
    log.starts[author] = upto_seq
    if author in log.chains:
        return
    if stub := snapshot.unpack_stub(log.net, state):
        stub.restore(log.books)
        log.chains[author] = stub.chain
    else:
        log.store.cut(author, 0)
        del log.starts[author]


def _cut(log: Log, author: bytes, seq: int, why: str) -> None:
    """A damaged foreign chain is pulled again from there; the own one can't be."""
    if author == log.own:
        raise LedgerError(own_damage(seq, why))
    log.store.cut(author, seq)


def _load_branches(log: Log) -> None:
    for author in log.forks:
        try:
            log.enter_branch(author, log.counting(author))
        except Malformed:
            continue  # damaged, and told again by whoever else holds it


def _hear(log: Log) -> None:
    """What is no payment, of all chains as far as they are in the books, and of the branches."""
    rows = [(author, row) for author, row in log.store.words(_WORDS) if row.seq <= log.heads.get(author, NO_HEAD).seq]
    rows += [(author, row) for author, row in log.store.branches() if row.kind in _WORDS]
    for _, row in rows:
        try:
            entry = row.revive(verify=False)
        except Malformed:
            continue
        if not (isinstance(entry.content, Proof) and entry.content.type == FORK and _is_known(log, entry.content)):
            log.hear(entry)


def _is_known(log: Log, proof: Proof) -> bool:
    return any(proof.body_a in wire for fork in log.forks.values() for wire in fork.wires)
