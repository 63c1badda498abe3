"""A home that comes back from an old backup, among real processes: it takes back what the backup lacks before it goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

from meshgen.cli.backing import make_backup
from meshgen.cli.local_mesh import wait_for
from meshgen.cli.restoring import restore_home
from meshgen.home import RESTORED_FILE
from meshgen.identity import public_key_of
from meshgen.ledger.store import open_read_only
from meshgen.ledger.verify import verify_home
from tests.e2e.conftest import Town


def test_an_old_backup_takes_back_what_it_lacks(town: Town, tmp_path: Path) -> None:
    asker, hub = town.node("requester"), town.node("hub")
    peer, home = asker.peer_id, asker.home
    assert town.await_job(town.submit())["state"] == "done"
    copy = tmp_path / "copy"
    old = make_backup(home, copy, None)
    assert town.await_job(town.submit(count=4))["state"] == "done"
    lost = int(town.requester.get("/v1/status")["credit"]["entries"])
    assert lost > old.entries
    wait_for(lambda: kept(hub.home, peer) == lost, "the hub to keep what the asker wrote", 20)
    asker.kill()
    shutil.move(home, tmp_path / "lost")
    try:
        done, _ = restore_home(home, copy, str, force=False, newest=False)
        assert (done.entries, kept(home, peer)) == (old.entries, old.entries)
    finally:
        town.launch_requester()
    town.await_ready("requester")
    town.await_workers()
    assert town.await_job(town.submit())["state"] == "done"
    assert not (home / RESTORED_FILE).exists()
    assert town.requester.get("/v1/status")["trouble"] == ""
    assert int(town.requester.get("/v1/status")["credit"]["entries"]) > lost, "it goes on behind what it had lost"
    for node in town.mesh.nodes.values():
        report = verify_home(node.home)
        assert (report.ok, report.forks) == (True, ()), (node.name, report.faults)


def kept(home: Path, peer: str) -> int:
    with open_read_only(home) as store:
        return store.end(public_key_of(peer)).seq
