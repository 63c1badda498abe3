"""What a job puts onto a model: LoRAs, textual inversions, a ControlNet. Read from files when first wanted. Child side."""

from __future__ import annotations

import json
import re
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file

from meshgen.engine.diffusion.inversions import Vectors, read_vectors
from meshgen.engine.diffusion.kinds import family_of
from meshgen.engine.port import Control, EngineError, Inversion, Lora

Files = Mapping[str, Mapping[str, Any]]
"""Adapters by their digests in hexadecimal: kind, path, name, family."""

KEPT_LORAS = 4
KEPT_INVERSIONS = 64
_CONTROLNETS = {"sd1": "ControlNetModel", "sdxl": "ControlNetModel", "sd3": "SD3ControlNetModel", "flux": "FluxControlNetModel"}
_SHAPE = (
    "in_channels",
    "cross_attention_dim",
    "block_out_channels",
    "joint_attention_dim",
    "pooled_projection_dim",
    "patch_size",
)
warnings.filterwarnings("ignore", module=r"peft\.")  # about several adapters in one model, which is meant
_UNFIT = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, OSError, SafetensorError)


class Wardrobe:
    """What has been read for one model, whose pipeline comes with every call: this keeps no model alive."""

    def __init__(self) -> None:
        self._loras: OrderedDict[str, None] = OrderedDict()  # read, the last used last
        self._worn: tuple[Lora, ...] = ()
        self._vectors: OrderedDict[bytes, Vectors] = OrderedDict()

    def wear(self, pipe: Any, loras: tuple[Lora, ...], files: Files) -> None:
        """These LoRAs and no others act from now on. Raises EngineError, and then none does."""
        if loras == self._worn:
            return
        self.undress(pipe)
        if not loras:
            return
        try:
            names = [self._read(pipe, lora, files) for lora in loras]
            pipe.enable_lora()
            pipe.set_adapters(names, [_weights(pipe, lora) for lora in loras])
        except BaseException:
            self.undress(pipe)
            raise
        self._worn = loras

    def undress(self, pipe: Any) -> None:
        """No LoRA acts; those least used are let go."""
        self._worn = ()
        if not self._loras:
            return
        pipe.disable_lora()
        while len(self._loras) > KEPT_LORAS:
            pipe.delete_adapters(self._loras.popitem(last=False)[0])

    def vectors(self, inversions: Sequence[Inversion], files: Files) -> dict[Inversion, Vectors]:
        """Raises EngineError."""
        for one in inversions:
            if one.digest not in self._vectors:
                self._vectors[one.digest] = read_vectors(_path(one, files), one.name)
            self._vectors.move_to_end(one.digest)
        found = {one: self._vectors[one.digest] for one in inversions}
        while len(self._vectors) > KEPT_INVERSIONS:
            self._vectors.popitem(last=False)
        return found

    def _read(self, pipe: Any, lora: Lora, files: Files) -> str:
        name = lora.digest.hex()
        if name not in self._loras:
            self._loras[name] = None
            try:
                if _family(lora, files) not in ("", "other", family_of(pipe)):
                    raise ValueError("of another family")
                pipe.load_lora_weights(load_file(_path(lora, files)), adapter_name=name)
                fits = any(name in names for names in pipe.get_list_adapters().values())
            except torch.OutOfMemoryError:
                self._forget(pipe, name)
                raise
            except _UNFIT:
                fits = False
            if not fits:
                self._forget(pipe, name)
                raise EngineError("bad_input", f"the LoRA {lora.name[:64]} does not fit this model")
        self._loras.move_to_end(name)
        return name

    def _forget(self, pipe: Any, name: str) -> None:
        """One that may have been put into half of the model."""
        del self._loras[name]
        if any(name in names for names in pipe.get_list_adapters().values()):
            pipe.delete_adapters(name)


class ControlNets:
    """The last one that was used on a device stays there."""

    def __init__(self) -> None:
        self._held: tuple[Path, Any] | None = None

    def get(self, pipe: Any, control: Control | None, files: Files, place: str) -> Any:
        """The model for it, on the device; None for none. Raises EngineError."""
        if control is None:
            return None
        path = _path(control, files)
        if self._held is None or self._held[0] != path:
            self.let_go()
            self._held = (path, _controlnet(pipe, path, control.name))
        model = self._held[1]
        if type(model).__name__ != _CONTROLNETS.get(family_of(pipe)) or not _alike(model, pipe):
            raise EngineError("unsupported", f"the ControlNet {control.name[:64]} is made for another family of models")
        return model.to(place, pipe.dtype)

    def let_go(self) -> None:
        self._held = None


def _weights(pipe: Any, lora: Lora) -> dict[str, float]:
    parts = pipe._lora_loadable_modules
    return {part: lora.clip_weight if part.startswith("text_encoder") else lora.weight for part in parts}


def _path(adapter: Lora | Inversion | Control, files: Files) -> Path:
    file = files.get(adapter.digest.hex())
    if file is None:
        raise EngineError("unsupported", f"{adapter.name[:64]} is not on this worker")
    return Path(file["path"])


def _family(adapter: Lora, files: Files) -> str:
    return str(files.get(adapter.digest.hex(), {}).get("family", ""))


def _controlnet(pipe: Any, path: Path, name: str) -> Any:
    try:
        return (_from_folder(path, pipe.dtype) if path.is_dir() else _from_file(pipe, path)).eval()
    except torch.OutOfMemoryError:
        raise
    except _UNFIT:
        raise EngineError(
            "unsupported", f"the ControlNet {name[:64]} does not fit this model, or its files are damaged"
        ) from None


def _alike(model: Any, pipe: Any) -> bool:
    """Of one shape with the denoiser: what is not would end the process when it runs."""
    own, its = model.config, (getattr(pipe, "unet", None) or pipe.transformer).config
    return all(own[name] == its[name] for name in _SHAPE if name in own and name in its)


def _from_folder(path: Path, dtype: Any) -> Any:
    name = json.loads((path / "config.json").read_text("utf-8"))["_class_name"]
    if name not in _CONTROLNETS.values():
        raise ValueError(name)
    return getattr(diffusers, name).from_pretrained(path, local_files_only=True, use_safetensors=True, torch_dtype=dtype)


def _from_file(pipe: Any, path: Path) -> Any:
    """A single file has no configuration: it is that of the denoiser which it was made for."""
    if family_of(pipe) not in ("sd1", "sdxl"):
        raise ValueError("only folders are known")
    weights = convert_controlnet_checkpoint(load_file(path), pipe.unet.config)
    start = "controlnet_cond_embedding"
    widths = [name for name in sorted(weights) if re.fullmatch(rf"{start}\.(conv_in|blocks\.\d*[13579])\.bias", name)]
    widths.sort(key=lambda name: (len(name), name))  # conv_in is shorter than all blocks
    model = diffusers.ControlNetModel.from_unet(
        pipe.unet,
        conditioning_embedding_out_channels=tuple(len(weights[name]) for name in widths),
        load_weights_from_unet=False,
    )
    model.load_state_dict(weights)
    return model
