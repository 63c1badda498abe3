"""A network in ONNX's format, run by onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from meshgen.engine.alchemy.ncnn import Array
from meshgen.engine.port import EngineError


class Network:
    """One input, one or more outputs of which the first counts; all single precision."""

    def __init__(self, model: bytes | Path, threads: int) -> None:
        """Raises EngineError("bad_model")."""
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = False  # pictures have all sizes
        options.log_severity_level = 4
        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session: Any = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 -- onnxruntime's errors have no other base
            raise _as_engine_error(error, "loaded") from None
        self._input = self._session.get_inputs()[0]

    def sides(self, default: int) -> tuple[int, int]:
        """Height and width that it takes; ``default`` where it leaves them open."""
        height, width = [side if isinstance(side, int) and side > 0 else default for side in self._input.shape[-2:]]
        return height, width

    def run(self, values: Array) -> Array:
        """Raises EngineError: out_of_memory or bad_model."""
        try:
            return np.asarray(self._session.run(None, {self._input.name: values})[0])
        except Exception as error:  # noqa: BLE001 -- as above
            raise _as_engine_error(error, "run") from None


def _as_engine_error(error: Exception, what: str) -> EngineError:
    text = str(error).lower()
    if isinstance(error, MemoryError) or "bad_alloc" in text or "allocate" in text:
        return EngineError("out_of_memory", "the memory that a form of alchemy may take is not enough for this picture")
    return EngineError("bad_model", f"its network can't be {what} ({type(error).__name__})")
