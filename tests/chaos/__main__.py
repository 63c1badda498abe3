"""``python -m tests.chaos --minutes 30``: eight nodes under faults of all kinds while four clients keep asking; a table.

Ends with 1 if a job came to no end or gave no reason, a log does not hold, something was paid twice, or a node grew too much.
Needs network namespaces; only root can fill a disk.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.story import chaos


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a new folder for homes and logs (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="meshgen-chaos-") as scratch:
        root = options.keep or Path(scratch)
        story = chaos(root, options.seed, options.minutes * 60, tell=lambda line: print(line, file=sys.stderr, flush=True))
    print(story.table)
    print(f"seed {options.seed}")
    print("\n".join(f"not as it should be: {one}" for one in story.wrong) or "all is as it should be")
    sys.exit(bool(story.wrong))


if __name__ == "__main__":
    main()
