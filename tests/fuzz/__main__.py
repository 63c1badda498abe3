"""Fuzz each decoder for a while: ``python -m tests.fuzz --seconds 600 [TARGET ...]``. The status is 1 if anything was found.

With atheris by coverage; without it blindly, for as many runs as a guided one would make.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.blind import fuzz
from tests.fuzz.target import Target
from tests.fuzz.targets import targets

BLIND_RUNS_A_SECOND = 5000


@dataclass(frozen=True)
class Outcome:
    target: str
    seconds: int
    runs: int
    covered: int
    """Edges of the code that were reached; 0 where nobody counted."""
    found: str = ""

    def __str__(self) -> str:
        verdict = f"FOUND\n{self.found}" if self.found else "nothing found"
        return f"{self.target:<24} {self.seconds:>5} s {self.runs:>11,} runs {self.covered:>5} edges  {verdict}"


def guided(target: Target, seconds: int, seed: int) -> Outcome:
    """In a process of its own, which libFuzzer ends; what it finds worth keeping is kept only while it runs."""
    with TemporaryDirectory(prefix="meshgen-fuzz-") as folder:
        corpus = write_corpus(Path(folder) / "corpus", target)
        flags = [f"-max_total_time={seconds}", f"-seed={seed}", "-print_final_stats=1", f"-artifact_prefix={folder}/find-"]
        command = [sys.executable, "-m", "tests.fuzz.guided", target.name, *flags, str(corpus)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        finds = [path.read_bytes().hex() for path in Path(folder).glob("find-*")]
    found = "" if done.returncode == 0 else "\n".join([*finds, done.stderr[-3000:]])
    return Outcome(
        target.name, seconds, _last(r"number_of_executed_units: (\d+)", done.stderr), _last(r"cov: (\d+)", done.stderr), found
    )


def blind(target: Target, seconds: int, seed: int) -> Outcome:
    runs = seconds * BLIND_RUNS_A_SECOND
    return Outcome(target.name, seconds, runs, 0, str(fuzz(target, seed, runs) or ""))


def write_corpus(folder: Path, target: Target) -> Path:
    folder.mkdir()
    for number, seed in enumerate(target.seeds):
        (folder / f"{number:03}").write_bytes(seed)
    return folder


def _last(pattern: str, text: str) -> int:
    return int((re.findall(pattern, text) or ["0"])[-1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="names of targets; all, if none is named")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=2)
    args = parser.parse_args()
    if unknown := set(args.targets) - set(targets()):
        parser.error(f"no target is called {', '.join(sorted(unknown))}; there are: {', '.join(targets())}")
    way = guided if importlib.util.find_spec("atheris") else blind
    print(f"fuzzing {'by coverage' if way is guided else 'blindly: atheris is not installed'}, seed {args.seed}", flush=True)
    chosen = [targets()[name] for name in args.targets] or list(targets().values())
    failed = False
    with ThreadPoolExecutor(args.at_once) as pool:
        for outcome in pool.map(lambda target: way(target, args.seconds, args.seed), chosen):
            print(outcome, flush=True)
            failed |= bool(outcome.found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
