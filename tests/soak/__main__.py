"""``python -m tests.soak --jobs 500``: mixed jobs with injected faults, and a table of what came of them and what it took.

Ends with 1 if a job was lost or came to another end than it should, if a process is left behind, or if something grew too much.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import trio

from tests.soak.mix import stories
from tests.soak.soak import soak
from tests.soak.table import progress, table
from tests.soak.watch import Sample

SILENCE_S = 25.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--silence", type=float, default=SILENCE_S, help="seconds after which a silent child is replaced")
    options = parser.parse_args()
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="meshgen-soak-") as home:
        report = trio.run(soak, Path(home), stories(options.jobs, options.seed), options.silence, _show)
    print(table(report))
    print(f"seed {options.seed}")
    sys.exit(bool(report.wrong))


def _show(sample: Sample) -> None:
    print(progress(sample), file=sys.stderr)


if __name__ == "__main__":
    main()
