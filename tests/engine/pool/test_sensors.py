"""Temperatures and watts from what drivers print and keep."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from meshgen.engine.pool.sensors import Reading, parse_nvidia_smi, read_hwmon, read_sensors

# as nvidia-smi answers for one card; for two; for cards that hide their power; for one that fell off the bus
ONE = "34, 71.33\n"
TWO = "61, 212.04\n83, 341.50\n"
HIDDEN = "41, [N/A]\n"
LAPTOP = "52, [Not Supported]\n"
LOST = "Unable to determine the device handle for GPU0000:01:00.0: GPU is lost.  Reboot the system to recover this GPU\n"


@pytest.mark.parametrize(
    ("text", "temperature", "power"),
    [
        (ONE, 34, 71.33),
        (TWO, 83, 553.54),
        (HIDDEN, 41, None),
        (LAPTOP, 52, None),
        (LOST, None, None),
        ("", None, None),
        ("No devices were found\n", None, None),
        ("a, b\n1\n,\nnan, inf\n", None, None),
        ("1, 2, 3\n", None, None),
    ],
)
def test_nvidia_smi(text: str, temperature: float | None, power: float | None) -> None:
    found = parse_nvidia_smi(text)
    assert (found.temperature_c, found.power_w) == (temperature, pytest.approx(power) if power else power)


def hwmon(root: Path, number: int, **files: str) -> None:
    folder = root / f"hwmon{number}"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text + "\n")


def test_amdgpu(tmp_path: Path) -> None:
    hwmon(tmp_path, 0, name="k10temp", temp1_input="91000")
    hwmon(tmp_path, 1, name="amdgpu", temp1_input="47000", temp2_input="55000", power1_average="39000000")
    hwmon(tmp_path, 2, name="amdgpu", temp1_input="66000", power1_input="120500000")
    assert read_hwmon(tmp_path) == Reading(66.0, 159.5)


@pytest.mark.parametrize("files", [{}, {"temp1_input": ""}, {"temp1_input": "hot", "power1_average": "-"}])
def test_an_amdgpu_that_tells_nothing(tmp_path: Path, files: dict[str, str]) -> None:
    hwmon(tmp_path, 0, name="amdgpu", **files)
    assert read_hwmon(tmp_path) == Reading()


async def test_without_either_there_is_no_reading(tmp_path: Path) -> None:
    assert await read_sensors(lambda: None, tmp_path / "none") == Reading()


async def test_nvidia_goes_before_hwmon(tmp_path: Path) -> None:
    hwmon(tmp_path, 0, name="amdgpu", temp1_input="47000")
    assert (await read_sensors(lambda: ONE, tmp_path)).temperature_c == 34
    assert (await read_sensors(lambda: None, tmp_path)).temperature_c == 47


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (subprocess.CalledProcessError(15, "nvidia-smi", LOST, ""), "nvidia-smi: Unable to determine the device handle"),
        (subprocess.CalledProcessError(9, "nvidia-smi", "", ""), "nvidia-smi: CalledProcessError"),
        (subprocess.TimeoutExpired("nvidia-smi", 5), "nvidia-smi: no answer within 5 s"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
async def test_a_driver_that_is_gone_is_a_fault(tmp_path: Path, error: Exception, says: str) -> None:
    def fail() -> str:
        raise error

    found = await read_sensors(fail, tmp_path)
    assert says in found.fault and found.temperature_c is None and "\n" not in found.fault


async def test_this_machine_can_be_asked() -> None:
    assert isinstance(await read_sensors(), Reading)
