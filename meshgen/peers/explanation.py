"""Why a peer stands where it stands for this one: the verdict, the paths of credit with their entries, what would change it."""

from __future__ import annotations

from typing import Any

from meshgen.identity import peer_id
from meshgen.ledger.ledger import Ledger
from meshgen.ledger.standing import FRIEND, OWN, Rank, Standing, Verdict
from meshgen.ledger.standings import Hop, ShownPath

TIERS = {OWN: "own", FRIEND: "friend"}
MAX_IDS = 200
"""Of the entries behind one hop; their number is told in any case."""


def explanation(ledger: Ledger, peer: bytes, verdict: Verdict, at_ms: int) -> dict[str, Any]:
    """``verdict`` is what this peer's worker would say of it now. Amounts in milli-kudos."""
    standing = ledger.standing(peer)
    paths = ledger.standings.explain(peer, at_ms, ledger.between)
    used = ledger.standings.explain(peer, at_ms, ledger.between, charged=True)
    members = ledger.accounts.members(ledger.account_of(peer))
    return {
        "peer": peer_id(peer),
        "account": ledger.account_of(peer).hex(),
        "devices": [peer_id(key) for key in members] or [peer_id(peer)],
        "served": verdict.serve,
        "why": verdict.why,
        "tier": TIERS.get(verdict.rank.tier, "others"),
        "bucket": verdict.rank.bucket,
        "credit_mkudos": standing.credit,
        "claimed_mkudos": standing.claimed,
        "debt_mkudos": standing.debt,
        "open_holds": standing.open_holds,
        "over_budget": standing.over_budget,
        "retired": standing.retired,
        "paths": [_path(path) for path in paths],
        "used": [_path(path) for path in used],
        "vouches": _vouches(ledger, peer, at_ms),
        "fork": _fork(ledger, peer),
        "changes": _changes(standing, verdict.rank, bool(used)),
    }


def _path(path: ShownPath) -> dict[str, Any]:
    return {"mkudos": path.amount, "hops": [_hop(hop) for hop in path.hops]}


def _hop(hop: Hop) -> dict[str, Any]:
    return {
        "debtor": peer_id(hop.debtor),
        "creditor": peer_id(hop.creditor),
        "owed_mkudos": hop.owed,
        "vouched_mkudos": hop.vouched,
        "used_mkudos": hop.used,
        "entries": [entry.hex() for entry in hop.entries[:MAX_IDS]],
        "entry_count": len(hop.entries),
    }


def _vouches(ledger: Ledger, peer: bytes, at_ms: int) -> list[dict[str, Any]]:
    """Who answers for the peer's account now, known to this peer; not all of it need be on a path."""
    account = ledger.account_of(peer)
    return [
        {"by": peer_id(author), "mkudos": word.limit, "expires_ms": word.expires_ms, "entry": word.entry_id.hex()}
        for (author, about), word in ledger.promises.vouches.items()
        if about == account and word.expires_ms > at_ms
    ]


def _fork(ledger: Ledger, peer: bytes) -> dict[str, Any] | None:
    evidence = next((fork for fork in ledger.forks() if fork.author == peer), None)
    return {"seq": evidence.seq, "entries": [entry.hex() for entry in evidence.ids]} if evidence else None


def _changes(standing: Standing, rank: Rank, used: bool) -> list[str]:
    """In plain words, what the peer or this node could do."""
    if standing.forked:
        return ["nothing in this key's log: its owner can recover the account with the recovery key"]
    if standing.retired:
        return ["its account would have to let it in again, under a new key"]
    if rank.tier == OWN:
        return ["it is a device of this node's own account: it goes first as long as it is in it"]
    ways = ["it draws pictures for this node, or for somebody whom this node owes: each kudo earned so counts"]
    if used:
        ways.append("it has used credit up here: work for this node brings it back")
    if standing.over_budget:
        ways.insert(0, "its account raises the device's budget, or the device earns: it owes more than it may")
    if standing.claimed:
        ways.append("it signs for what this node had to claim by its vouchers")
    ways.append("this node vouches for it: meshgen credit vouch")
    if rank.tier != FRIEND:
        ways.append("this node's owner names it a friend: worker.friends in the settings")
    return [*ways, "tips change nothing here: they move the balance alone"]
