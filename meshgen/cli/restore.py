from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshgen.cli.faults import BadHome
from meshgen.cli.verb import Call, count, verb

if TYPE_CHECKING:
    from meshgen.cli.backing import Manifest


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--passphrase-file", metavar="FILE", help="Its first line is the passphrase; without it you are asked.")
@click.option("--force", is_flag=True, help="Also over another key, or over a longer log; what is there is kept in replaced/.")
@click.option("--newest", is_flag=True, help="The node has not run since this backup was made: nobody need be asked for more.")
@verb
def restore(call: Call, file: str, passphrase_file: str | None, force: bool, newest: bool) -> None:
    """Bring a home back from what `meshgen backup` made. The node must not run.

    All of the file is checked before anything is touched. A log must never go on from an old end: two entries at one place pass
    for fraud, for good. So a restored node first asks others for what its log lacks, and writes nothing until one who keeps that
    log has answered. With --newest it does not ask: only for a backup made after the node was stopped for the last time.

    Run the key in one place only: never restore it while the old machine may come back.
    """
    from meshgen.cli.restoring import restore_home

    try:
        done, aside = restore_home(call.home, Path(file), lambda: _passphrase(passphrase_file), force=force, newest=newest)
    except OSError as error:
        raise BadHome(f"{error.filename or call.home} can't be written: {error.strerror}") from None
    found = {"home": str(call.home), "peer": done.peer, "entries": done.entries, "made_ms": done.made_ms, "asks": not newest}
    call.result(found | {"replaced": str(aside) if aside else None}, _text(call.home, done, aside, newest))


def _passphrase(file: str | None) -> str:
    from meshgen.cli.backing import ask_passphrase, read_passphrase

    return read_passphrase(file) if file else ask_passphrase()


def _text(home: Path, done: Manifest, aside: Path | None, newest: bool) -> str:
    log = f"own entries 1 to {done.entries}" if done.entries else "no credit log"
    lines = [f"{home} is {done.peer} again, as of {done.made}: {count(len(done.files), 'file')}, {log}"]
    if aside:
        lines.append(f"what was there is kept in {aside}")
    if not newest:
        lines.append("start it while others can be reached: it asks them for what its log lacks before it writes to it")
        if not done.entries:
            lines.append("if this node never ran, there is nothing to ask for: restore it with --newest")
    lines.append("start it: meshgen run")
    return "\n".join(lines)
