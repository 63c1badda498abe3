"""The device that the child computes on. Child side: imports torch."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from meshgen.engine.port import EngineError

MIB = 1024 * 1024
_MEMINFO = Path("/proc/meminfo")
_CPU_PIXELS, _MPS_PIXELS, _CUDA_PIXELS_PER_MIB = 256 * 256, 1024 * 1024, 300


@dataclass(frozen=True, slots=True)
class Device:
    """``others``: devices that stay free, for children of their own."""

    kind: str  # cuda, mps, cpu
    place: str  # as torch says it: cuda:0
    dtype: torch.dtype
    others: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The fields of :class:`meshgen.engine.port.DeviceInfo`."""
        total, free = self.memory_mib()
        return {"kind": self.kind, "name": self._name(), "vram_total_mib": total, "vram_free_mib": free}

    def memory_mib(self) -> tuple[int, int]:
        """(total, free); system memory on cpu, what Metal lets a process have on mps, zeros where that can't be told."""
        if self.kind == "cuda":
            free, total = torch.cuda.mem_get_info(self.place)
            return total // MIB, free // MIB
        if self.kind == "mps":
            total = torch.mps.recommended_max_memory()
            return total // MIB, max(total - torch.mps.driver_allocated_memory(), 0) // MIB
        return machine_memory_mib()

    def free_mib(self) -> int:
        return self.memory_mib()[1]

    def batch_pixels(self) -> int:
        """Pixels that are drawn at once; a first guess, as running out of memory halves it."""
        if self.kind == "cuda":
            return max(self.memory_mib()[1], 1024) * _CUDA_PIXELS_PER_MIB
        return _MPS_PIXELS if self.kind == "mps" else _CPU_PIXELS

    def _name(self) -> str:
        if self.kind == "cuda":
            return str(torch.cuda.get_device_name(self.place))
        return platform.processor() or platform.machine()


def find_device(wanted: str, dtype: str) -> Device:
    """``wanted``: auto, cuda, cuda:N, mps or cpu; ``dtype``: auto or one of torch's names. Raises EngineError."""
    kind, _, number = wanted.partition(":")
    present = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if kind == "auto":
        kind = next(name for name, count in present.items() if count)
    if int(number or 0) >= present.get(kind, 0):
        raise EngineError("unsupported", f"torch {torch.__version__} sees no device {wanted} here; set worker.device: auto")
    place = f"cuda:{number or 0}" if kind == "cuda" else kind
    others = tuple(f"cuda:{index}" for index in range(1, present["cuda"])) if kind == "cuda" and not number else ()
    return Device(kind, place, _dtype(kind) if dtype == "auto" else getattr(torch, dtype), others)


def machine_memory_mib() -> tuple[int, int]:
    """(total, free) of the machine; what the system would give up, as caches of files, counts as free."""
    try:
        rows = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
        return int(rows["MemTotal"].split()[0]) // 1024, int(rows["MemAvailable"].split()[0]) // 1024
    except (OSError, ValueError, LookupError):
        pass
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB
        return total, total // 2
    except (AttributeError, ValueError, OSError):
        return 0, 0


def _dtype(kind: str) -> torch.dtype:
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float16 if kind == "mps" else torch.float32
