"""What a folder of model files is: read and judged without torch, before anything in it is loaded.

The layout is the one that ``DiffusionPipeline.from_pretrained`` takes: ``model_index.json`` names the pipeline's class and its
components, each component has a folder with its config and weights. Weights come as safetensors; pickles run code when they are
opened, so they need the owner's word. Code that comes with a model is never run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshgen.engine.features import features_of
from meshgen.engine.models.provenance import of_folder
from meshgen.engine.models.tensor_file import LFS, PICKLES, TensorFileError, check_there, read_tensor_file

INDEX = "model_index.json"
MAX_CONFIG_BYTES = 4 * 1024 * 1024
MAX_FILES = 1000
INPAINTING_CHANNELS = 9
"""Of a denoiser that wants a mask and what lies behind it: 4 + 1 + 4."""

_DATA = (".json", ".txt", ".model", ".jinja")
_LIBRARIES = ("diffusers", "transformers", "stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "flux")
_WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|model|pytorch_model)(\.(?P<variant>fp16|bf16))?(-\d+-of-\d+)?(\.(?P=variant))?\.\w+"
)


class ModelFolderError(ValueError):
    """The folder is not a model that can be run here; the text says what is wrong and how to mend it."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model as its files describe it. ``files`` are those that are loaded, relative to ``path`` and sorted."""

    path: Path
    pipeline: str
    family: str  # one of meshgen.protocols.advert.FAMILIES
    default_size: int  # pixels of a side
    variant: str  # "", fp16 or bf16: the infix of the weights' file names
    licence: str
    files: tuple[str, ...]
    inpainting: bool = False  # its denoiser was made for that and does nothing else

    @property
    def features(self) -> tuple[str, ...]:
        return features_of(self.family, self.pipeline, self.inpainting)


def read_model_folder(path: Path, allow_pickle: bool = False) -> ModelFolder:
    """Judge a folder by its configs and its weights' headers. Raises ModelFolderError."""
    index = _index(path)
    components = [name for name, value in index.items() if _is_component(name, value)]
    for name in components:
        _check_component(path, name, allow_pickle)
    variant = _variant(path, components)
    files = sorted(_files(path, components, variant, allow_pickle))
    if len(files) > MAX_FILES:
        raise ModelFolderError(f"{path} holds more than {MAX_FILES} files: this is not one model")
    for file in files:
        _check_content(path / file)
    pipeline = index["_class_name"]
    denoiser = _config(path / ("unet" if "unet" in components else "transformer"))
    family = _family(pipeline, denoiser)
    size = _default_size(family, denoiser, _config(path / "vae"))
    return ModelFolder(
        path, pipeline, family, size, variant, _licence(path), tuple(files), denoiser.get("in_channels") == INPAINTING_CHANNELS
    )


def _index(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise ModelFolderError(f"{path} is not a folder")
    if (path / INDEX).is_symlink():
        _check_content(path / INDEX)
    if not (path / INDEX).is_file():
        raise ModelFolderError(f"{path} has no {INDEX}: it must be a diffusers folder, as save_pretrained() writes it")
    index = _read_json(path / INDEX)
    pipeline = index.get("_class_name")
    if isinstance(pipeline, list) or any(path.rglob("*.py")):
        raise ModelFolderError(f"{path} brings its own code, which is never run here; use a model of a stock diffusers pipeline")
    if not isinstance(pipeline, str) or not re.fullmatch(r"\w{1,80}Pipeline", pipeline):
        raise ModelFolderError(f"{path / INDEX} names no pipeline class under _class_name")
    return index


def _is_component(name: str, value: object) -> bool:
    """True for ``"unet": ["diffusers", "UNet2DConditionModel"]``; False for settings and for components that are left out."""
    if name.startswith("_") or not isinstance(value, list) or value == [None, None]:
        return False
    if len(value) != 2 or value[0] not in _LIBRARIES or not isinstance(value[1], str):
        raise ModelFolderError(f"{INDEX} takes {name} from {value!r}, which is neither diffusers nor transformers")
    if not re.fullmatch(r"\w{1,64}", name):
        raise ModelFolderError(f"{INDEX} has a component of the strange name {name[:64]!r}")
    return True


def _check_component(path: Path, name: str, allow_pickle: bool) -> None:
    folder = path / name
    if not folder.is_dir():
        raise ModelFolderError(f"{folder} is missing, though {INDEX} names it: the download may be incomplete")
    weights = [file for file in folder.iterdir() if _WEIGHTS.fullmatch(file.name)]
    safe = any(file.suffix == ".safetensors" for file in weights)
    if not safe and not allow_pickle and any(file.suffix in PICKLES for file in weights):
        raise ModelFolderError(
            f"{folder} has its weights as pickle, which can run code when opened: get .safetensors, or allow pickle"
        )
    if not weights and (folder / "config.json").is_file():
        raise ModelFolderError(f"{folder} has no weights (*.safetensors): the download may be incomplete")


def _variant(path: Path, components: list[str]) -> str:
    """The variant that must be asked for because some component has nothing else."""
    for name in components:
        found = {
            match["variant"] or "" for file in (path / name).glob("*.safetensors") if (match := _WEIGHTS.fullmatch(file.name))
        }
        if found and "" not in found:
            return min(found)
    return ""


def _files(path: Path, components: list[str], variant: str, allow_pickle: bool) -> Iterator[str]:
    yield INDEX
    for name in components:
        weights = [file for file in (path / name).iterdir() if _WEIGHTS.fullmatch(file.name) and file.suffix != ".json"]
        chosen = [file for file in weights if file.suffix == ".safetensors"]
        chosen = chosen or [file for file in weights if allow_pickle and file.suffix in PICKLES]
        yield from (f"{name}/{file.name}" for file in _of_variant(chosen, variant))
        yield from (f"{name}/{file.name}" for file in (path / name).iterdir() if file.suffix in _DATA)


def _of_variant(weights: list[Path], variant: str) -> list[Path]:
    """Those of the variant; a component that has none of it is loaded from its plain files."""
    tagged = [file for file in weights if variant and f".{variant}" in file.name]
    return tagged or [file for file in weights if not re.search(r"\.(fp16|bf16)\b", file.name)]


def _check_content(file: Path) -> None:
    """Cut downloads, pointers to large files and links that lead nowhere are found now rather than in the first job."""
    try:
        if file.suffix == ".safetensors":
            read_tensor_file(file)
            return
        check_there(file)
        with file.open("rb") as opened:
            if opened.read(len(LFS)) == LFS:
                raise ModelFolderError(f"{file} is a Git LFS pointer, not the file itself: run `git lfs pull` where it came from")
    except TensorFileError as error:
        raise ModelFolderError(str(error)) from None


def _family(pipeline: str, denoiser: dict[str, Any]) -> str:
    for prefix, family in (("StableDiffusionXL", "sdxl"), ("StableDiffusion3", "sd3"), ("Flux", "flux")):
        if pipeline.startswith(prefix):
            return family
    return "sd1" if pipeline.startswith("StableDiffusion") and denoiser.get("cross_attention_dim") == 768 else "other"


def _default_size(family: str, denoiser: dict[str, Any], vae: dict[str, Any]) -> int:
    """Pixels of a side that the model was trained for: latent side times what the VAE enlarges it by."""
    side = denoiser.get("sample_size")
    side = side[0] if isinstance(side, list) and side else side
    channels = vae.get("block_out_channels") or vae.get("decoder_block_out_channels")
    if family == "flux" or not isinstance(side, int) or not isinstance(channels, list):
        return 1024 if family in ("sdxl", "sd3", "flux") else 512
    return int(min(max(side * 2 ** (len(channels) - 1), 8), 8192))


def _licence(path: Path) -> str:
    """The licence that the model card's front matter states, or none."""
    return of_folder(path).licence


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    return _read_json(file) if file.is_file() else {}


def _read_json(file: Path) -> dict[str, Any]:
    if file.stat().st_size > MAX_CONFIG_BYTES:
        raise ModelFolderError(f"{file} is larger than {MAX_CONFIG_BYTES} bytes: this is no config")
    try:
        value = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ModelFolderError(f"{file} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ModelFolderError(f"{file} is not a JSON object")
    return value
