"""``python -m tests.soak --jobs 500``: mixed jobs with injected faults, and a table of what came of them and what it took."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import trio

from tests.soak.mix import cases
from tests.soak.soak import Report, soak

SILENCE_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--silence", type=float, default=SILENCE_S, help="seconds after which a silent child is replaced")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="meshgen-soak-") as home:
        report = trio.run(soak, Path(home), cases(options.jobs, options.seed), options.silence)
    print(table(report))
    print(f"seed {options.seed}")
    sys.exit(bool(report.unexpected or report.left_behind))


def table(report: Report) -> str:
    lines = [f"{'kind of job':<28}{'what came of it':<24}{'jobs':>6}"]
    lines += [f"{kind:<28}{outcome:<24}{count:>6}" for (kind, outcome), count in sorted(report.outcomes.items())]
    lines += ["", f"{'after jobs':>10}{'node MB':>10}{'files':>8}{'child MB':>10}{'files':>8}{'children':>10}"]
    for one in report.samples:
        lines.append(
            f"{one.jobs:>10}{one.node_mb:>10.0f}{one.node_files:>8}{one.child_mb:>10.0f}{one.child_files:>8}{one.children:>10}"
        )
    lines += ["", f"children seen {len(report.children_started)}, left behind {report.left_behind}"]
    lines += [f"not as it should be: {one}" for one in report.unexpected] or ["every job came to the end that it should"]
    return "\n".join(lines + report.troubles)


if __name__ == "__main__":
    main()
