from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from meshgen.cli.agreeing import ask
from meshgen.cli.client import Api
from meshgen.cli.credit_text import SHORT
from meshgen.cli.credit_words import parse_kudos, unasked
from meshgen.cli.faults import BadHome, Fault
from meshgen.cli.verb import Call, Verbs, kudos, verb
from meshgen.cli.whom import People, is_peer_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshgen.cli.succession import Succession


ROTATE_RUNNING = "Close this key's log, stop the node, and go on with the next key? The peer id changes; it can't be undone."
ROTATE_STOPPED = "Close this key's log and go on with the next key? The peer id changes; it can't be undone."


@click.group(cls=Verbs)
def account() -> None:
    """Your devices' keys: who speaks for your account, and how a key follows another.

    Each device has its own key and log. An account binds several: they share credit, and serve each other first. A key that was
    lost or stolen is followed by the one in recovery/, which the log committed to when it began: keep that folder elsewhere.

    \b
    A second device:
      1. there: meshgen init; meshgen account show       (its peer id)
      2. here:  meshgen account add-device PEER_ID       (the node runs)
      3. there: meshgen account join ... as step 2 says; meshgen run
    A new key, before anything is wrong:
      meshgen account rotate; meshgen run
    A key that is lost or stolen:
      meshgen account recover --from /media/usb/recovery; meshgen run
    """


@account.command()
@verb
def show(call: Call) -> None:
    """This device, its account, and the account's other devices. The node may run or not."""
    from meshgen.cli.account_view import account_text, account_view

    found = account_view(call.home)
    call.result(found, account_text(found))


@account.command("add-device")
@click.argument("device", metavar="PEER_ID")
@click.option("--budget", default="", metavar="KUDOS", help="The most that the device may owe; without it there is no bound.")
@unasked
@verb
def add_device(call: Call, device: str, budget: str, yes: bool) -> None:
    """Let another device of yours into this account. It must join as well: see the last line of what this prints.

    Whoever has that device's key can then owe in the account's name, up to the budget.
    """
    key = _peer_of(device)
    mkudos = parse_kudos(budget, "--budget") if budget else 0
    api = Api.of(call.home)
    bound = f"owing at most {kudos(mkudos)} kudos" if mkudos else "with no bound on what it may owe"
    ask(f"Let {key} into this account, {bound}?", yes)
    found = api.post("/v1/account/add", {"peer": key, "budget_mkudos": mkudos})
    text = f"""added: entry {found["entry"]["id"][:SHORT]}
Now, on the other device, before its node runs for the first time:
  meshgen account join {found["account"]} --device {found["peer"]}"""
    call.result(found, text)


@account.command()
@click.argument("account_id")
@click.option("--device", default="", metavar="PEER_ID", help="A device that is in it, to get the account's story from.")
@verb
def join(call: Call, account_id: str, device: str) -> None:
    """Make this home's log part of an account, before it begins.

    ACCOUNT_ID is what `meshgen account show` says on a device that is in it. One of its devices must add this one, too:
    before or after, in any order.
    """
    from meshgen.cli.account_view import own_genesis
    from meshgen.cli.keyfiles import own_key, write_account
    from meshgen.identity import public_key_of

    try:
        wanted = bytes.fromhex(account_id) if len(account_id) == 64 else b""
    except ValueError:
        wanted = b""
    if not wanted:
        raise click.BadParameter(
            "64 hex digits are needed: `meshgen account show` on another device says them", param_hint="ACCOUNT_ID"
        )
    key = own_key(call.home)
    if genesis := own_genesis(call.home, key.public_key):
        if genesis[0] == wanted:
            raise Fault("this home's log is in that account already", code="exists")
        raise BadHome(
            f"this home's log has begun, in account {genesis[0].hex()[:SHORT]}; a log can't change its account",
            "make a fresh home: meshgen init --home FOLDER",
        )
    write_account(call.home, wanted, public_key_of(_peer_of(device, "--device")) if device else b"")
    text = f"""This home's log will begin in account {account_id[:SHORT]}...
On a device that is in it: meshgen account add-device {key.peer_id}
Then start this one:       meshgen run"""
    call.result({"account": account_id, "peer": key.peer_id}, text)


@account.command()
@click.option(
    "--from", "recovery", default=None, metavar="KEYFILE", help="The recovery key, or its folder, if it is kept elsewhere."
)
@unasked
@verb
def rotate(call: Call, recovery: str | None, yes: bool) -> None:
    """Go on with the next key, and make a new one for the time after.

    This log is closed, and the next key begins its own, in the same account: balances and standing stay together. The node's
    peer id changes. A running node closes its log itself, so that others hear of it, and is stopped; that is the better way.
    Cut off anywhere, the same call goes on from there.
    """
    from meshgen.cli.succession import rotate as run

    runs = _is_running(call)
    ask(ROTATE_RUNNING if runs else ROTATE_STOPPED, yes)
    if runs:
        _close_log(call, recovery)
    done = _succeed(lambda: run(call.home, recovery))
    text = f"""This node is now {done.new.peer_id}
Its log goes on in account {done.account.hex()[:SHORT]}...; the old key's log is closed.
- The old key is kept in {call.home / "retired"}: it signs nothing more.
- A new recovery key is in {call.home / "recovery"}: move that folder to another place.
- Others that named this node in their settings (mesh.bootstrap, friends) need its new peer id.
Start it: meshgen run"""
    call.result(_as_document(done), text)


@account.command()
@click.option("--from", "recovery", required=True, metavar="KEYFILE", help="The recovery key of the lost one, or its folder.")
@click.option(
    "--log",
    default=None,
    type=click.Path(),
    metavar="FILE",
    help="The lost key's log: another home, its ledger.db or a jsonl export.",
)
@click.option(
    "--at", "at_seq", type=click.IntRange(1), default=None, help="The last entry that was yours, if a thief wrote more."
)
@unasked
@verb
def recover(call: Call, recovery: str, log: str | None, at_seq: int | None, yes: bool) -> None:
    """Take over from a key that was lost or stolen, with the recovery key. The node must not run.

    The recovery key begins a log of its own in the same account. What the lost key signed after the last entry known here does
    not count as the account's, so bring its newest log: a friend or hub can export it (`meshgen credit export --peer ...`).

    \b
    meshgen account recover --from /media/usb/recovery
    meshgen account recover --home new --from recovery.key --log lost.jsonl
    """
    from pathlib import Path

    from meshgen.cli.keyfiles import recovery_key
    from meshgen.cli.succession import find_lost
    from meshgen.cli.succession import recover as run
    from meshgen.identity import peer_id

    _refuse_running(call)
    lost = _succeed(lambda: find_lost(Path(log) if log else call.home, recovery_key(call.home, recovery)))
    last = at_seq or lost.head.seq
    ask(f"Take over from {peer_id(lost.author)}, standing by its entries 1 to {last}? What it signed later will not count.", yes)
    done, head = _succeed(lambda: run(call.home, recovery, log, at_seq))
    text = f"""This node is now {done.new.peer_id}
It goes on for {peer_id(done.old)} in account {done.account.hex()[:SHORT]}..., from its entry {head.seq} on.
- A new recovery key is in {call.home / "recovery"}: move that folder to another place.
Start it, so that others hear of it: meshgen run"""
    call.result(_as_document(done) | {"at_seq": head.seq}, text)


@account.command()
@click.argument("device", metavar="PEER")
@unasked
@verb
def retire(call: Call, device: str, yes: bool) -> None:
    """Take another device out of this account: what it signs from now on is not the account's.

    Only a device that this one, or one below it, has added. Its entries up to the last known here stand.
    """
    api = Api.of(call.home)
    key = People(api).find(device)
    ask(f"Retire {key}? What it signs from now on does not count for this account.", yes)
    found = api.post("/v1/account/retire", {"peer": key})
    call.result(found, f"retired, standing by its entries up to {found['at_seq']}: entry {found['entry']['id'][:SHORT]}")


def _as_document(done: Succession) -> dict[str, Any]:
    from meshgen.identity import peer_id

    return {"account": done.account.hex(), "old": peer_id(done.old), "peer": done.new.peer_id}


def _peer_of(text: str, hint: str = "PEER_ID") -> str:
    """A peer id, or a public key in hex. Raises BadParameter."""
    from meshgen.identity import peer_id

    if is_peer_id(text):
        return text
    try:
        return peer_id(bytes.fromhex(text))
    except ValueError:
        wrong = f"{text[:70]!r} is no peer id: `meshgen account show` on that device says it"
        raise click.BadParameter(wrong, param_hint=hint) from None


def _close_log(call: Call, recovery: str | None) -> None:
    """By the running node, which is then stopped."""
    from meshgen.cli.stop import stop_node
    from meshgen.cli.succession import next_keys

    api = Api.of(call.home)
    key, next_hash = _succeed(lambda: next_keys(call.home, recovery))
    api.post("/v1/account/rotate", {"key": key.hex(), "next_hash": next_hash.hex()})
    call.say("the log is closed; stopping the node")
    stop_node(api)


def _is_running(call: Call) -> bool:
    from meshgen.gateway.runfile import read_run

    info = read_run(call.home)
    return info is not None and info.alive()


def _refuse_running(call: Call) -> None:
    if _is_running(call):
        raise Fault("the node runs; keys can't change under it", "meshgen stop", code="running")


def _succeed(step: Callable[[], Any]) -> Any:
    from meshgen.ledger.errors import LedgerError

    try:
        return step()
    except LedgerError as error:
        raise BadHome(str(error)) from None
