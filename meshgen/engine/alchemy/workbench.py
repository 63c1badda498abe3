"""Where the forms are done, in the child process: each one's tool is made at its first job and kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from meshgen.engine.alchemy.background import Cutter, cut_by_colour
from meshgen.engine.alchemy.esrgan import read_esrgan
from meshgen.engine.alchemy.ncnn import Layer, read_ncnn
from meshgen.engine.alchemy.network import Network
from meshgen.engine.alchemy.nsfw import Classifier
from meshgen.engine.alchemy.onnx_file import to_onnx
from meshgen.engine.alchemy.picture import open_picture, to_png
from meshgen.engine.alchemy.upscale import Runs, Upscaler
from meshgen.engine.pool.frames import Frame
from meshgen.engine.port import EngineError

KEPT = 2
"""Tools that stay loaded; the one that was not used for longest goes first."""

Alive = Callable[[], None]


Tool = Callable[[Image.Image, Alive], Image.Image | dict[str, Any]]


class Workbench:
    def __init__(self, threads: int, device: str) -> None:
        self._threads, self._device = threads, device
        self._tools: dict[str, Tool] = {}

    def work(self, request: Frame, alive: Alive) -> tuple[bytes, str, float, int]:
        """Data, its media type, seconds of compute without loading, pixels of the source. Raises EngineError."""
        picture = open_picture(request["picture"])
        pixels = picture.width * picture.height
        tool = self._tool(request)
        alive()
        began = time.perf_counter()
        result = tool(picture, alive)
        if isinstance(result, Image.Image):
            data, media = to_png(result), "image/png"
        else:
            data, media = json.dumps(result, ensure_ascii=False).encode(), "application/json"
        return data, media, time.perf_counter() - began, pixels

    def _tool(self, request: Frame) -> Tool:
        key = request["name"]
        tool = self._tools.pop(key, None)
        if tool is None:
            while len(self._tools) >= KEPT:
                del self._tools[next(iter(self._tools))]
            tool = self._made(request["kind"], [Path(file) for file in request["files"]], request["enlarge"])
        self._tools[key] = tool
        return tool

    def _made(self, kind: str, files: list[Path], enlarge: int) -> Tool:
        match kind:
            case "nsfw":
                classifier = Classifier(files[0], self._threads)
                return lambda picture, _: classifier.judge(picture)
            case "upscale":
                layers = read_ncnn(*files) if len(files) == 2 else read_esrgan(*files)
                return Upscaler(self._network(layers), enlarge).enlarge
            case "cutout":
                cutter = Cutter(files[0], self._threads)
                return lambda picture, _: cutter.cut(picture)
            case "colour":
                return lambda picture, _: cut_by_colour(picture)
            case "caption" | "interrogation":
                return self._with_torch(kind, files[0].parent)
        raise EngineError("unsupported", f"no form of the kind {kind!r} is known")

    def _network(self, layers: list[Layer]) -> Runs:
        if self._device == "cpu":
            return Network(to_onnx(layers), self._threads)
        from meshgen.engine.alchemy.torch_network import TorchNetwork

        return TorchNetwork(layers, self._device)

    def _with_torch(self, kind: str, folder: Path) -> Tool:
        import torch
        from safetensors import SafetensorError
        from transformers.utils import logging

        logging.disable_progress_bar()
        torch.set_num_threads(self._threads)
        try:
            if kind == "caption":
                from meshgen.engine.alchemy.caption import Captioner

                captioner = Captioner(folder, self._device)
                return _within_memory(captioner.describe)
            from meshgen.engine.alchemy.interrogation import Interrogator

            interrogator = Interrogator(folder, self._device)
            return _within_memory(interrogator.interrogate)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise EngineError("bad_model", f"the model in {folder.name}/ can't be loaded ({type(error).__name__})") from None


def _within_memory(judge: Callable[[Image.Image], dict[str, Any]]) -> Tool:
    import torch

    def tool(picture: Image.Image, _: Alive) -> dict[str, Any]:
        try:
            return judge(picture)
        except torch.OutOfMemoryError:
            raise EngineError("out_of_memory", "the device has not enough free memory for this form") from None

    return tool
