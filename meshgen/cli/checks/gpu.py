"""Is there a graphics card, does its driver answer, and does torch see it? torch is asked in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meshgen.cli.checks.finding import Finding
from meshgen.cli.checks.patient import Patient
from meshgen.cli.checks.work import draws_itself

NVIDIA, AMD = Path("/dev/nvidia0"), Path("/dev/kfd")
ANSWER_S, TORCH_S = 10.0, 120.0
LITTLE_MIB = 2048
REPAIR = "after an update of the driver or the kernel: start the machine again; else install the driver again"
_TORCH = """
import json, torch
gpu = torch.cuda.is_available()
free, total = torch.cuda.mem_get_info() if gpu else (0, 0)
print(json.dumps({"kind": "cuda" if gpu else "mps" if torch.backends.mps.is_available() else "cpu",
    "name": torch.cuda.get_device_name() if gpu else "", "free": free >> 20, "total": total >> 20,
    "built": "cuda" if torch.version.cuda else "hip" if torch.version.hip else "", "version": torch.__version__}))
"""


def device(patient: Patient) -> Iterator[Finding]:
    settings = patient.usable()
    if settings is None or not draws_itself(patient):
        return
    card, silent = _card()
    if silent:
        yield Finding("gpu", "fault", f"{card} is there, but its driver does not answer: {silent}", REPAIR)
        return
    seen = _seen_by_node(patient) or _seen_by_torch()
    if "error" in seen:
        yield Finding(
            "gpu", "fault", f"torch can't be used: {seen['error']}", "install it again: pip install --force-reinstall torch"
        )
    elif seen["kind"] == "cpu" and (card or settings.worker.device == "cuda"):
        yield _blind(card, seen)
    elif seen["kind"] == "cpu":
        yield Finding("gpu", "note", "no graphics card: the processor draws, which takes minutes a picture")
    elif seen["total"] and seen["free"] < LITTLE_MIB:
        text = f"{seen['kind']} {seen['name']}: {seen['free']} of {seen['total']} MiB free"
        yield Finding("gpu", "note", text, "end what else uses it, or serve smaller models")
    else:
        memory = f", {seen['free']} of {seen['total']} MiB free" if seen["total"] else ""
        yield Finding("gpu", "ok", f"{seen['kind']} {seen['name']}{memory}".replace("  ", " "))


def _blind(card: str, seen: dict[str, Any]) -> Finding:
    text = f"torch {seen.get('version', '')} sees no graphics card".replace("  ", " ") + (
        f", but {card} is there" if card else ""
    )
    if card.startswith("AMD"):
        return Finding(
            "gpu", "fault", text, "install torch's build for ROCm, and put this account into the groups render and video"
        )
    if card and seen.get("built") == "":
        return Finding("gpu", "fault", text, "this torch is built for processors alone: install its build for CUDA")
    return Finding("gpu", "fault", text, "look after the driver (nvidia-smi), or set worker.device: auto")


def _card() -> tuple[str, str]:
    """(what is built in, why its driver is silent): told without torch."""
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        said, why = _output([tool, "--query-gpu=name", "--format=csv,noheader"], ANSWER_S)
        name = said.splitlines()[0] if said else ""
        return (name, "") if name and not why else ("an NVIDIA card" if NVIDIA.exists() else "", why if NVIDIA.exists() else "")
    if NVIDIA.exists():
        return "an NVIDIA card", ""
    return ("AMD card", "") if AMD.exists() else ("", "")


def _seen_by_node(patient: Patient) -> dict[str, Any]:
    worker = patient.running.get("worker")
    if not worker or worker["device_name"] == "starting":
        return {}
    return {
        "kind": worker["device"],
        "name": worker["device_name"],
        "free": worker["vram_free_mib"],
        "total": worker["vram_total_mib"],
    }


def _seen_by_torch() -> dict[str, Any]:
    said, why = _output([sys.executable, "-c", _TORCH], TORCH_S)
    try:
        return {"error": why} if why else dict(json.loads(said.splitlines()[-1]))
    except (ValueError, IndexError):
        return {"error": "it says nothing"}


def _output(command: list[str], seconds: float) -> tuple[str, str]:
    """What it said, and what went wrong."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, errors="replace")
    except subprocess.TimeoutExpired:
        return "", f"no answer within {seconds:.0f} s"
    except OSError as error:
        return "", error.strerror or str(error)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        return "", lines[-1][:200] if lines else f"exit code {done.returncode}"
    return done.stdout.strip(), ""
