"""``python -m tests.netns``: ten nodes on an internet of their own, invited by one line each; a table of who reached whom.

Ends with 1 if a pair could not work for each other. Needs network namespaces and iptables.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.netns.journey import HOMES, Travellers, build, failures, say, table, travel
from tests.netns.world import world


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.netns", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4, help="in each of the two homes")
    parser.add_argument("--keep", type=Path, help="a folder for homes and logs (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="meshgen-netns-") as scratch, world() as places:
        names = build(places, dict.fromkeys(HOMES, options.nodes))
        mesh = Travellers(options.keep or Path(scratch), "meshgen-netns-v0", places)
        try:
            journey = travel(mesh, names, say)
        finally:
            mesh.stop()
    print(table(journey, names))
    wrong = failures(journey)
    print("\n".join(f"not as it should be: {one}" for one in wrong) or "every pair can work for each other")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
