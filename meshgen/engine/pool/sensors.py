"""How hot the device is and what it draws: asked of the driver's own tool or files, on the node's side, without torch."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import trio

NVIDIA_SMI = "nvidia-smi"
QUERY = ("--query-gpu=temperature.gpu,power.draw", "--format=csv,noheader,nounits")
HWMON = Path("/sys/class/hwmon")
ANSWER_S = 5.0
"""A driver that hangs holds its tool up too."""
MAX_OUTPUT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """Of the hottest device and of all together; None where nothing tells. ``fault``: why the driver answers no more."""

    temperature_c: float | None = None
    power_w: float | None = None
    fault: str = ""


def parse_nvidia_smi(text: str) -> Reading:
    """The answer to :data:`QUERY`: a line a device, ``[N/A]`` and the like where it does not tell."""
    rows = [line.split(",") for line in text[:MAX_OUTPUT].splitlines() if line.count(",") == 1]
    return _together([(_number(temperature), _number(power)) for temperature, power in rows])


def read_hwmon(root: Path = HWMON) -> Reading:
    """AMD's driver: ``temp1_input`` (the edge) in 1/1000 of a degree, ``power1_average`` or ``power1_input`` in 1/1000000 W."""
    return _together([_hwmon_device(folder) for folder in _amdgpus(root)])


async def read_sensors(run: Callable[[], str | None] | None = None, root: Path = HWMON) -> Reading:
    """What can be had on this machine. ``run`` gives nvidia-smi's output, None if there is none; it may raise OSError."""
    try:
        answer = await trio.to_thread.run_sync(run or _nvidia_smi, abandon_on_cancel=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Reading(fault=f"{NVIDIA_SMI}: {_told(error)}")
    return read_hwmon(root) if answer is None else parse_nvidia_smi(answer)


def _nvidia_smi() -> str | None:
    tool = shutil.which(NVIDIA_SMI)
    if tool is None:
        return None
    done = subprocess.run([tool, *QUERY], capture_output=True, text=True, timeout=ANSWER_S, check=True, errors="replace")
    return done.stdout


def _told(error: Exception) -> str:
    """In a line: what the tool itself said, if it did."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {ANSWER_S:g} s"
    said = error.stdout or error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
    lines = str(said or "").strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _together(devices: Iterable[tuple[float | None, float | None]]) -> Reading:
    devices = list(devices)
    temperatures = [temperature for temperature, _ in devices if temperature is not None]
    powers = [power for _, power in devices if power is not None]
    return Reading(max(temperatures, default=None), sum(powers) if powers else None)


def _amdgpus(root: Path) -> Iterator[Path]:
    try:
        folders = sorted(root.iterdir())
    except OSError:
        return
    yield from (folder for folder in folders if _text(folder / "name") == "amdgpu")


def _hwmon_device(folder: Path) -> tuple[float | None, float | None]:
    temperature = _number(_text(folder / "temp1_input"))
    power = _number(_text(folder / "power1_average") or _text(folder / "power1_input"))
    return temperature and temperature / 1000, power and power / 1_000_000


def _text(file: Path) -> str:
    """A driver asleep answers with an error; that is no reading."""
    try:
        return file.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
