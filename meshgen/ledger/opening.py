"""How a home's log is taken up again: the stored fold where there is one, and what was written after it.

Signatures were judged when an entry was written; the rules are applied again to what the stored fold does not cover.
"""

from __future__ import annotations

from meshgen.ledger import snapshot
from meshgen.ledger.errors import InvalidEntry, LedgerError
from meshgen.ledger.log import FOLD_KEY, Log
from meshgen.ledger.rules import Chain
from meshgen.ledger.store import Store
from meshgen.protocols.codec import Malformed
from meshgen.protocols.credit import ADVISORY, FORK, GENESIS, KEY, NO_HEAD, PROOF, VOUCH, Proof

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


def _check_owner(log: Log) -> None:
    store, held = log.store, log.store.meta("net")
    if held and held != log.net:
        raise LedgerError(f"this home belongs to the mesh {held.hex()}, not {log.net.hex()}; use another MESHGEN_HOME")
    for key, value in (("net", log.net), ("self", log.own)):
        if store.meta(key) != value:
            store.set_meta(key, value)


def _take_up(log: Log) -> None:
    """The stored fold, if each chain that it covers ends on disk where it says."""
    stored = snapshot.unpack(log.net, log.store.meta(FOLD_KEY), log.reader.recall)
    if stored is None:
        log.books.forked = {author: fork.seq for author, fork in log.forks.items()}
        return
    books, chains, branches = stored
    starts = log.store.pruned()
    if not all(_ends(log.store, chain) and chain.head.seq >= starts.get(chain.author, (0,))[0] for chain in chains):
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


def _load_chain(log: Log, author: bytes) -> None:
    chain = log.chain(author)
    for row in log.store.chain(author, after=chain.head.seq):
        try:
            entry = row.revive(verify=False)
            chain.append(entry, embedded=False)
        except (Malformed, InvalidEntry) as error:
            _cut(log, author, row.seq, str(error))
            break
        log.enter(entry)
    if chain.head != NO_HEAD:
        log.chains[author] = chain
        log.heads[author] = chain.head


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
        raise LedgerError(f"the own chain is damaged at entry {seq} ({why}); restore it from a backup before going on")
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
