from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import meshgen
from meshgen.cli.faults import BadHome, Fault, NotRunning
from meshgen.cli.verb import Call, Verbs, verb
from meshgen.home import CONFIG_FILE, home_dir

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshgen.cli.managers import Manager
    from meshgen.cli.units import Service

DRAIN_S = 120.0
"""So long a worker ends its jobs where its settings say nothing about it: a service is stopped at each shutdown."""
NAME = "meshgen"


def _of_which(function: Callable[..., Any]) -> Callable[..., Any]:
    named = click.option("--name", default=NAME, show_default=True, help="The service's name, if this machine runs several.")
    system = click.option("--system", is_flag=True, help="The machine's own service (root's), instead of yours.")
    return named(system(function))


@click.group(cls=Verbs)
def service() -> None:
    """Run the node in the background, from when the machine starts on.

    On Linux a unit of systemd: yours, with your rights and your home; or with --system the machine's, as a user `meshgen` of its
    own, shut off from the rest of the machine, with /var/lib/meshgen as its home. On macOS an agent of launchd.
    """


@service.command()
@_of_which
@click.option("--profile", default=None, help="What the node is for; without it, the home's settings say so.")
@click.option("--print", "only_print", is_flag=True, help="Write the unit to stdout and do nothing.")
@verb
def install(call: Call, name: str, system: bool, profile: str | None, only_print: bool) -> None:
    """Write the unit, enable it and start it. Done again, it brings the unit up to date."""
    from meshgen.cli.managers import manager_for

    made = _service(call, _checked(name), system, profile)
    manager = manager_for(name, system, made.home)
    told = {"unit": str(manager.file), "home": str(made.home), "command": list(made.command)}
    if only_print:
        text = manager.text(made).decode()
        call.result(told | {"text": text}, text.removesuffix("\n"))
        return
    _ensure_rights(call, system, ["install", *(["--profile", profile] if profile else [])], name)
    if system:
        _ensure_open_to_others(Path(sys.executable), Path(meshgen.__file__))
    _ensure_ours(manager.file, made.home)
    done = _perform(manager.prepare())
    _write(manager.file, manager.text(made))
    done.append(f"wrote {manager.file}")
    done += _perform(manager.start(), kept=manager.file)
    lines = [*done, *_advice(made, system, profile)]
    call.result(told, "\n".join(lines))


@service.command()
@_of_which
@verb
def uninstall(call: Call, name: str, system: bool) -> None:
    """Stop the service and remove its unit. The home stays."""
    from meshgen.cli.managers import as_words, manager_for, perform

    manager = manager_for(_checked(name), system, call.home)
    if not manager.file.exists():
        raise Fault(f"there is no {manager.file}", code="no_service")
    _ensure_rights(call, system, ["uninstall"], name)
    troubles = [f"{as_words(command)}: {why}" for command in manager.undo() if (why := perform(command))]
    manager.file.unlink()
    text = "\n".join([*troubles, f"removed {manager.file}; the home and its key are where they were"])
    call.result({"removed": str(manager.file), "troubles": troubles}, text)


@service.command()
@_of_which
@verb
def status(call: Call, name: str, system: bool) -> None:
    """Whether the service runs, and since when. `meshgen status` tells what its node does."""
    from meshgen.cli.managers import output

    manager = _installed(call, name, system)
    said = output(manager.state)
    if not said:
        raise Fault("the service manager does not answer", f"ask it yourself: {shlex.join(manager.state)}")
    pairs = (line.partition("=") for line in said.splitlines())
    found = {key.strip(): value.strip() for key, equals, value in pairs if equals}
    call.result({"unit": str(manager.file)} | found, "\n".join([f"unit {manager.file}", said.strip()]))


@service.command()
@_of_which
@click.option("--lines", "-n", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many.")
@click.option("--follow", "-f", is_flag=True, help="Go on until Ctrl-C.")
@verb
def logs(call: Call, name: str, system: bool, lines: int, follow: bool) -> None:
    """The last lines of the service's log."""
    if call.json and follow:
        raise click.UsageError("--follow goes on and on, and --json is one document: leave one of them out")
    command = _installed(call, name, system).logs(call.home, lines, follow)
    try:
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE if call.json else None)
    except FileNotFoundError:
        raise Fault(f"there is no {command[0]} on this machine") from None
    if call.json:
        call.result({"command": command, "lines": done.stdout.decode("utf-8", "replace").splitlines()})
    click.get_current_context().exit(done.returncode)


# -- what is installed


def _installed(call: Call, name: str, system: bool) -> Manager:
    """Raises NotRunning."""
    from meshgen.cli.managers import manager_for

    manager = manager_for(_checked(name), system, call.home)
    if not manager.file.exists():
        raise NotRunning(f"there is no {manager.file}", "`meshgen service install` makes it")
    return manager


def _service(call: Call, name: str, system: bool, profile: str | None) -> Service:
    from meshgen.cli.managers import gpu_groups
    from meshgen.cli.units import AFTER_DRAIN_S, STATE_HOME, Service

    home = STATE_HOME if system and call.home == home_dir() else call.home
    words = (sys.executable, "-P", "-m", "meshgen", "--home", str(home), "run", *(("--profile", profile) if profile else ()))
    if not all(word.isprintable() for word in words):
        raise BadHome("a service's folders have names that can be printed")
    drain_s = _drain_s(home, profile)
    groups = gpu_groups() if system else ()
    if drain_s is None:
        return Service(name, words, home, DRAIN_S, AFTER_DRAIN_S, groups)
    return Service(name, words, home, None, drain_s + AFTER_DRAIN_S, groups)


def _drain_s(home: Path, profile: str | None) -> float | None:
    """What the owner has decided about it. Raises BadHome for bad settings: the service would not start."""
    from meshgen.cli.config import settings_of

    if not os.access(home, os.R_OK | os.X_OK) and home.exists():
        return None
    node = settings_of(home, profile=profile).node
    return node.drain_s if "drain_s" in node.model_fields_set else None


def _checked(name: str) -> str:
    if not name.isascii() or not name.replace("-", "").isalnum() or len(name) > 60:
        raise click.BadParameter(f"{name[:70]!r}: letters, digits and - only", param_hint="--name")
    return name


# -- rights


def _ensure_rights(call: Call, system: bool, words: list[str], name: str) -> None:
    if not system or os.geteuid() == 0:
        return
    home = [] if call.home == home_dir() else ["--home", str(call.home)]
    named = [] if name == NAME else ["--name", name]
    command = ["sudo", sys.executable, "-m", "meshgen", *home, "service", words[0], "--system", *words[1:], *named]
    raise Fault("a service of the machine is installed by root", f"run: {shlex.join(command)}", code="rights")


def _ensure_open_to_others(*files: Path) -> None:
    """The service's own user must be able to run what is installed: also behind a link into somebody's home."""
    for path in {place for file in files for end in (file.absolute(), file.resolve()) for place in (end, *end.parents)}:
        needed = stat.S_IXOTH if path.is_dir() else stat.S_IROTH
        if not path.stat().st_mode & needed:
            hint = "install meshgen for all: python3 -m venv /opt/meshgen; /opt/meshgen/bin/pip install ..."
            raise Fault(f"the service's own user can't get at {path}, where meshgen or its Python lies", hint, code="rights")


def _ensure_ours(file: Path, home: Path) -> None:
    """A unit of that name for another home is not overwritten."""
    try:
        before = file.read_text("utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{file} can't be read: {error}") from None
    if str(home) not in before:
        raise Fault(
            f"{file} is the service of another home", "give this one another --name, or uninstall that one", code="exists"
        )


def _write(file: Path, text: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
    except OSError as error:
        raise Fault(f"{file} can't be written: {error.strerror}") from None


def _perform(commands: list[list[str]], kept: Path | None = None) -> list[str]:
    """In order; what was done, a line each. Raises Fault with those that are left to do."""
    from meshgen.cli.managers import as_words, perform

    for index, command in enumerate(commands):
        if why := perform(command):
            left = "\n".join(f"  {as_words(one)}" for one in commands[index:])
            first = f"{kept} is written, but " if kept else ""
            raise Fault(f"{first}`{as_words(command)}` failed: {why}", f"what is left to do:\n{left}", code="manager")
    return [f"ran {as_words(command)}" for command in commands]


def _advice(service: Service, system: bool, profile: str | None) -> list[str]:
    named = "" if service.name == NAME else f" --name {service.name}"
    which = f"{' --system' if system else ''}{named}"
    lines = [f"the node runs from {service.home}", f"its log: meshgen service logs{which}"]
    if not (service.home / CONFIG_FILE).exists() and not profile:
        lines.append(f"there is no {service.home / CONFIG_FILE} yet: the node runs by the defaults, and asks for pictures only")
    if not system and sys.platform == "linux":
        lines.append("it runs while you are logged in; to let it run always: loginctl enable-linger")
    return lines
