"""Files that change what a model draws: LoRAs, textual inversions, ControlNets; told apart by their tensors, without torch.

What else lies about in such folders is named for what it is, so that its owner knows why it is not taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from meshgen.engine.models.provenance import Provenance, of_file, of_folder
from meshgen.engine.models.tensor_file import Shapes, TensorFile, read_tensor_file

KINDS = ("lora", "inversion", "controlnet")
TAKEN = "what is taken are models (.safetensors, .gguf or a folder), LoRAs, textual inversions and ControlNets"
MAX_VECTORS = 75
"""A prompt has room for no more."""

CONTROL_TYPES = {
    "canny": ("canny",),
    "depth": ("depth", "midas", "zoe"),
    "openpose": ("openpose", "dwpose", "pose"),
    "hed": ("hed", "softedge"),
    "hough": ("mlsd", "hough"),
    "scribble": ("scribble", "sketch"),
    "lineart": ("lineart",),
    "normal": ("normal",),
    "seg": ("seg",),
    "tile": ("tile",),
    "inpaint": ("inpaint",),
    "shuffle": ("shuffle",),
    "blur": ("blur",),
    "qr": ("qrcode", "qr"),
}
"""AI Horde's names where it has one, and what files of that type are called."""

_LORA = re.compile(r"\.lora_(down|up|A|B)\b|\.lora\.(down|up)\b|_lora\d?\.(down|up)\b")
_LYCORIS = re.compile(r"\.(hada_w|lokr_w|oft_blocks|oft_diag|glora)|\.(a1|b1)\.weight$")
_OF_TEXT = re.compile(r"(^|\.)(model\.layers|transformer\.h|gpt_neox\.layers)\.\d+\.")
_WIDTHS = {768: "sd1", 1024: "other", 2048: "sdxl"}
"""Of what the denoiser's cross attention reads."""
_TEXT_WIDTHS = {768: "sd1", 1024: "other", 1280: "sdxl"}
_CONTROL_CLASSES = {
    "ControlNetModel": "",
    "SD3ControlNetModel": "sd3",
    "FluxControlNetModel": "flux",
}
_NOTED = (
    ("stable-diffusion-v1", "sd1"),
    ("stable-diffusion-v2", "other"),
    ("stable-diffusion-xl", "sdxl"),
    ("stable-diffusion-3", "sd3"),
    ("flux", "flux"),
    ("sdxl", "sdxl"),
    ("sd_v1", "sd1"),
    ("sd_v2", "other"),
    ("sd3", "sd3"),
)
_OTHERS = (
    (
        r"(^|\.)(RDB\d|rdb\d)\.|^conv_first\.|^model\.\d+\.sub\.",
        "an upscaler: those are not on this list, alchemy takes them from its own folder",
    ),
    (r"^(image_proj|ip_adapter)\.", "an IP-Adapter, which is not run here"),
    (r"^(adapter\.)?body\.\d+\.(block1|in_conv|resnets)", "a T2I-Adapter, which is not run here: take a ControlNet"),
    (r"^(first_stage_model\.|vae\.)?(encoder|decoder)\.(conv_in|down|up|mid)", "a VAE alone; models bring theirs"),
    (r"^(text_model|transformer\.text_model|encoder\.block|cond_stage_model)\.", "a text encoder alone; models bring theirs"),
    (r"motion_modules", "a motion module for films, which are not made here"),
    (r"^(down_blocks|transformer_blocks|single_transformer_blocks)\.\d", "one part of a diffusers model: give its whole folder"),
)


class AdapterFileError(ValueError):
    """It is no adapter that can be used here; the text says what it is, or what is wrong with it."""


@dataclass(frozen=True, slots=True)
class AdapterFile:
    path: Path
    kind: str
    family: str  # of the models that it fits; "" = not known
    control: str  # the control type of a ControlNet, else ""
    provenance: Provenance
    files: tuple[str, ...]  # relative to a folder; of a file its own name


def read_adapter(path: Path, allow_pickle: bool = False, control: str = "") -> AdapterFile:
    """A file, or a ControlNet's folder. ``control`` overrides what its name says. Raises AdapterFileError, TensorFileError."""
    return _controlnet_folder(path, control) if path.is_dir() else judge_adapter(read_tensor_file(path, allow_pickle), control)


def judge_adapter(file: TensorFile, control: str = "") -> AdapterFile:
    """Raises AdapterFileError."""
    kind = _kind(file)
    family = {"lora": _lora_family, "inversion": _inversion_family, "controlnet": _controlnet_family}[kind](file.shapes)
    control = _control(file.path, control) if kind == "controlnet" else ""
    return AdapterFile(file.path, kind, family or _noted_family(file), control, of_file(file.path, file.notes), (file.path.name,))


def is_adapter(shapes: Shapes) -> bool:
    """True for what could be taken for a checkpoint by its other tensors."""
    return _is_controlnet(shapes) or any(_LORA.search(name) or _LYCORIS.search(name) for name in shapes)


def is_controlnet_folder(path: Path) -> bool:
    return class_of(path) in _CONTROL_CLASSES


def _kind(file: TensorFile) -> str:
    names = file.shapes
    if "lora_controlnet" in names:
        raise AdapterFileError(f"{file.path} is a Control-LoRA, which diffusers can't load: take the ControlNet itself")
    if any(_LORA.search(name) for name in names):
        if any(_OF_TEXT.search(name) for name in names):
            raise AdapterFileError(f"{file.path} is a LoRA for a text model: merge it into its model and add that")
        return "lora"
    if any(_LYCORIS.search(name) for name in names):
        raise AdapterFileError(f"{file.path} is a LoHa, LoKr or the like, which diffusers can't load: take a LoRA")
    if _is_controlnet(names):
        if any(name.startswith(("task_embedding", "control_add_embedding")) for name in names):
            raise AdapterFileError(f"{file.path} is a union of ControlNets, which is not run here: take one for each type")
        return "controlnet"
    if _is_inversion(names):
        return "inversion"
    for pattern, what in _OTHERS:
        if any(re.search(pattern, name) for name in names):
            raise AdapterFileError(f"{file.path} is {what}")
    raise AdapterFileError(f"{file.path} holds {_described(names)}, of no kind that is known here: {TAKEN}")


def _is_controlnet(names: Iterable[str]) -> bool:
    marks = ("control_model.", "controlnet_cond_embedding.", "controlnet_x_embedder.", "input_hint_block.")
    return any(name.startswith(marks) for name in names)


def _is_inversion(shapes: Shapes) -> bool:
    """Few vectors and nothing else; under a name that says nothing, as wide as a text encoder's."""
    rows = [shape for name, shape in shapes.items() if name.startswith(("string_to_param.", "emb_params", "clip_l", "clip_g"))]
    if not rows and len(shapes) == 1:
        rows = [shape for shape in shapes.values() if shape and shape[-1] in _TEXT_WIDTHS]
    few = [shape for shape in rows if len(shape) == 1 or (len(shape) == 2 and shape[0] <= MAX_VECTORS)]
    return bool(few) and len(few) == len(rows) and all(shape[-1] <= 8192 for shape in few)


def _described(shapes: Shapes) -> str:
    """The first tensor stands for all. Its name is the file's own: no control characters, not long."""
    name, shape = next(iter(shapes.items()), ("", ()))
    plain = "".join(char for char in name if char.isprintable())[:40]
    sides = "x".join(map(str, shape[:8])) or "one number"
    number = f"{len(shapes)} tensors, the first" if len(shapes) > 1 else "one tensor"
    return f"{number} {plain!r} ({sides})" if shapes else "no tensors"


def _lora_family(shapes: Shapes) -> str:
    if any("double_blocks" in name or "single_blocks" in name or "single_transformer_blocks" in name for name in shapes):
        return "flux"
    if any("joint_blocks" in name or re.match(r"transformer\.transformer_blocks", name) for name in shapes):
        return "sd3"
    widths = {shape[1] for name, shape in shapes.items() if _reads_prompt(name) and len(shape) >= 2}
    if len(widths) == 1 and (found := _WIDTHS.get(widths.pop())):
        return found
    if any(name.startswith(("lora_te2_", "text_encoder_2.")) for name in shapes):
        return "sdxl"
    return ""


def _reads_prompt(name: str) -> bool:
    return bool(re.search(r"attn2[._]to_[kv]", name) and re.search(r"lora_down|lora_A|lora\.down", name))


def _inversion_family(shapes: Shapes) -> str:
    widths = {shape[-1] for shape in shapes.values() if shape}
    if widths == {768, 1280}:
        return "sdxl"
    return _TEXT_WIDTHS.get(widths.pop(), "") if len(widths) == 1 else ""


def _controlnet_family(shapes: Shapes) -> str:
    if any(name.startswith(("controlnet_x_embedder.", "pos_embed_input.")) for name in shapes):
        return "flux" if any("double_blocks" in name or name.startswith("single_") for name in shapes) else ""
    if any(re.search(r"(^|\.)(add_embedding|label_emb)\.", name) for name in shapes):
        return "sdxl"
    widths = {shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight") and len(shape) == 2}
    return _WIDTHS.get(widths.pop(), "") if len(widths) == 1 else ""


def _noted_family(file: TensorFile) -> str:
    """What those who trained it wrote into it."""
    for key in ("modelspec.architecture", "ss_base_model_version"):
        noted = file.notes.get(key, "").lower()
        for start, family in _NOTED:
            if noted.startswith(start):
                return family
    return ""


def _controlnet_folder(path: Path, control: str) -> AdapterFile:
    name = class_of(path)
    if name not in _CONTROL_CLASSES:
        raise AdapterFileError(f"{path} has no config.json of a ControlNet that is known here")
    weights = [file for file in sorted(path.glob("diffusion_pytorch_model*.safetensors")) if ".fp16." not in file.name]
    if not weights:
        raise AdapterFileError(f"{path} has no diffusion_pytorch_model.safetensors: the download may be incomplete")
    shapes = {key: shape for file in weights for key, shape in read_tensor_file(file).shapes.items()}
    files = (
        "config.json",
        *(file.name for file in sorted(path.glob("diffusion_pytorch_model*.json"))),
        *(w.name for w in weights),
    )
    family = _CONTROL_CLASSES[name] or _controlnet_family(shapes)
    return AdapterFile(path, "controlnet", family, _control(path, control), of_folder(path), tuple(sorted(files)))


def class_of(folder: Path) -> str:
    """Which of diffusers' classes a folder is a saved one of, or none."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8")[:1_000_000])
    except (OSError, ValueError, RecursionError):
        return ""
    name = config.get("_class_name") if isinstance(config, dict) else None
    return name if isinstance(name, str) else ""


def _control(path: Path, given: str) -> str:
    """The control type, as given or by the file's name, or that of the repository it is cached for."""
    if given:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", given.lower()):
            raise AdapterFileError(f"{given[:40]!r} is no control type: one word, such as canny, depth or openpose")
        return given.lower()
    for name in (path.stem, path.parent.name, *re.findall(r"models--[\w.-]+", path.as_posix())):
        words = re.split(r"[^a-z]+", name.lower())
        for control, called in CONTROL_TYPES.items():
            if any(word.startswith(call) for word in words for call in called):
                return control
    raise AdapterFileError(f"{path} is a ControlNet, but its name does not say for what: give it with --type, e.g. --type canny")
