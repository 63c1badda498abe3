"""The container file and what the README says of it, read by a parser: what they name is there."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from meshgen.cli import VERBS
from meshgen.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent
KNOWN = {
    "ARG",
    "FROM",
    "RUN",
    "COPY",
    "ENV",
    "VOLUME",
    "EXPOSE",
    "USER",
    "WORKDIR",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ENTRYPOINT",
    "CMD",
}


@dataclass
class Stage:
    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, word: str) -> str:
        return [value for name, value in self.steps if name == word][-1]


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    lines = [line for line in (ROOT / "Containerfile").read_text().splitlines() if not line.startswith("#")]
    found: dict[str, Stage] = {}
    before = Stage("", "")
    for step in filter(None, re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()):
        word, _, rest = step.partition(" ")
        assert word in KNOWN, step
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            assert name and name not in found
            before = found[name] = Stage(name, base)
        before.steps.append((word, rest.strip()))
    return found


def whole(stages: dict[str, Stage], name: str) -> Stage:
    """With the steps of the stages it is built on."""
    stage = stages[name]
    return Stage(name, "", [*whole(stages, stage.base).steps, *stage.steps]) if stage.base in stages else stage


def test_stages_follow_from_each_other(stages: dict[str, Stage]) -> None:
    assert list(stages)[-1] == "light", "what is built if nobody says which"
    seen = set[str]()
    for stage in stages.values():
        assert stage.base in seen | {"${BASE}"}
        for word, rest in stage.steps:
            if word == "COPY" and (source := re.search(r"--from=(\S+)", rest)):
                assert source[1] in seen
        seen.add(stage.name)


@pytest.mark.parametrize("target", ["light", "worker"])
def test_what_it_runs_is_there(stages: dict[str, Stage], target: str) -> None:
    stage = whole(stages, target)
    health = json.loads(stage.last("HEALTHCHECK").partition("CMD ")[2])
    entry, command = json.loads(stage.last("ENTRYPOINT")), json.loads(stage.last("CMD"))
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert entry[0] == health[0] and entry[0] in scripts
    assert {command[0], health[1]} <= VERBS.keys()
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", stage.last("USER")), "by number, and not root"
    assert stage.last("VOLUME") == stage.last("WORKDIR") == "/data" and "MESHGEN_HOME=/data" in stage.last("ENV")


def test_it_installs_what_there_is(stages: dict[str, Stage]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    runs = " ".join(rest for stage in stages.values() for word, rest in stage.steps if word == "RUN")
    assert set(re.findall(r"/src\[(\w+)\]", runs)) == {"worker"} <= extras.keys()
    assert "/src/constraints.txt" in runs and (ROOT / "constraints.txt").exists()


def test_no_secret_and_no_registry(stages: dict[str, Stage]) -> None:
    text = (ROOT / "Containerfile").read_text()
    assert not re.search(r"https?://|\b\w+\.(io|com|org)\b", text)
    assert not re.search(r"(?i)(token|password|secret)\s*=", text)


def test_nothing_of_a_home_gets_into_a_layer() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*", "all is left out"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert all((ROOT / name).exists() for name in let_in)
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["packages"], *wheel["force-include"], "pyproject.toml", "README.md", "LICENSE"} <= let_in
    for secret in ("identity.key", ".venv", ".git", "config.yaml", "demo", "tests"):
        assert not any(fnmatch.fnmatch(secret, rule) for rule in let_in)


def test_the_readmes_compose_file() -> None:
    block = re.search(r"```yaml\n(services:.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    document = yaml.safe_load(block[1])
    (service,) = document["services"].values()
    pairs = {key.removeprefix("MESHGEN_").lower().replace("__", ".", 1): value for key, value in service["environment"].items()}
    settings = load_settings(overrides=pairs)
    assert float(service["stop_grace_period"].removesuffix("s")) > settings.node.drain_s
    assert [volume.split(":")[0] for volume in service["volumes"]] == list(document["volumes"])
