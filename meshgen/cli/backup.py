from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshgen.cli.faults import Fault
from meshgen.cli.verb import Call, count, verb

if TYPE_CHECKING:
    from meshgen.cli.backing import Manifest

MIN_PASSPHRASE = 8


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--passphrase-file", metavar="FILE", help="Its first line is the passphrase; without it you are asked.")
@click.option("--no-encrypt", is_flag=True, help="Seal nothing: whoever reads the file has this node's key.")
@verb
def backup(call: Call, file: str, passphrase_file: str | None, no_encrypt: bool) -> None:
    """Write the home into one sealed file: key, settings, charter, credit log, lists. The node may run.

    Weights and pictures are not in it. Older is not as good: what your log says after the backup, others must give back. So make
    one often; `meshgen restore` says what an old one means.
    """
    from meshgen.cli.backing import make_backup

    target = Path(file)
    if target.exists():
        raise Fault(f"{target} exists already", "give each backup a name of its own", code="exists")
    passphrase = None if no_encrypt else _new_passphrase(passphrase_file)
    try:
        made = make_backup(call.home, target, passphrase)
    except OSError as error:
        raise Fault(f"{target} can't be written: {error.strerror}") from None
    found = {"file": str(target), "peer": made.peer, "entries": made.entries, "files": sorted(made.files)}
    call.result(found | {"left_out": list(made.left_out), "sealed": passphrase is not None}, _text(target, made, passphrase))


def _new_passphrase(file: str | None) -> str:
    from meshgen.cli.backing import ask_passphrase, read_passphrase

    given = read_passphrase(file) if file else ask_passphrase(twice=True)
    if len(given) < MIN_PASSPHRASE:
        raise Fault(f"a passphrase has at least {MIN_PASSPHRASE} characters", "several words are easy to keep in mind")
    return str(given)


def _text(target: Path, made: Manifest, passphrase: str | None) -> str:
    size = target.stat().st_size
    log = f"the credit log up to own entry {made.entries}" if made.entries else "no credit log yet"
    lines = [f"{target}: {count(len(made.files), 'file')}, {size / 2**20:.1f} MiB, {log}"]
    lines += [f"left out, as it is too large for a list: {name}" for name in made.left_out]
    if passphrase is None:
        lines.append("it is not sealed: whoever can read it has this node's key")
    else:
        lines.append("it is sealed: without its passphrase nobody can restore it, you neither")
    return "\n".join(lines)
