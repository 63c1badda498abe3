"""Many seeds, each told in one line: ``python -m tests.simulation --first 1 --seeds 200``."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter

from tests.simulation.story import PEERS, tell

COLUMNS = (
    "jobs",
    "done",
    "pictures",
    "crashes",
    "restored",
    "partitions",
    "forks made",
    "forks seen",
    "forks proved",
    "claims",
    "contested",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    began, faulty, sums, worst = time.monotonic(), [], Counter[str](), 0.0
    print(f"{PEERS} peers a seed")
    print("  ".join(("seed".rjust(6), *COLUMNS, "worst loss", "trace")))
    with multiprocessing.Pool(given.processes) as pool:
        for story in pool.imap(tell, range(given.first, given.first + given.seeds)):
            print(_row(story.seed, story.counts, story.worst_loss, story.digest), flush=True)
            sums += story.counts
            worst = max(worst, story.worst_loss)
            if story.faults:
                faulty.append(story)
                print(story, file=sys.stderr)
    print(_row("all", sums, worst, f"{time.monotonic() - began:.0f} s, {len(faulty)} seeds with faults"))
    if faulty:
        print(f"faults with the seeds {', '.join(str(story.seed) for story in faulty)}", file=sys.stderr)
    return 1 if faulty else 0


def _row(name: object, counts: Counter[str], worst: float, end: str) -> str:
    figures = (str(counts[column]).rjust(len(column)) for column in COLUMNS)
    return "  ".join((str(name).rjust(6), *figures, f"{worst:.1f}".rjust(len("worst loss")), end))


if __name__ == "__main__":
    sys.exit(main())
