"""A model in one file, as people have them: which family it is, and whether everything is in it. Read without torch.

The original layout of Stable Diffusion, SDXL, SD3 and Flux is told by the names and shapes of its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshgen.engine.features import features_of
from meshgen.engine.models.model_folder import INPAINTING_CHANNELS
from meshgen.engine.models.provenance import Provenance, of_file
from meshgen.engine.models.single_file_configs import (
    UNET,
    VAES,
    Config,
    ConfigError,
    below,
    clip_config,
    flow_scheduler,
    flux_config,
    noise_scheduler,
    open_clip_config,
    sd3_config,
    t5_config,
    unet_config,
    vae_config,
    with_size_embedding,
)
from meshgen.engine.models.tensor_file import Shapes, TensorFile, read_tensor_file

FORMAT = "single_file"
_CLIP_SD1 = "cond_stage_model.transformer."
_CLIP_SD2 = "cond_stage_model.model."
_CLIP_XL, _CLIP_XL_2 = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
_CLIP_L, _CLIP_G, _T5 = (f"text_encoders.{name}.transformer." for name in ("clip_l", "clip_g", "t5xxl"))
_EMBEDDING = "text_model.embeddings.position_embedding.weight"
_PIPELINES = {
    "sd1": "StableDiffusionPipeline",
    "other": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "flux": "FluxPipeline",
}
_INPAINTING = {"sd1": "StableDiffusionInpaintPipeline", "sdxl": "StableDiffusionXLInpaintPipeline"}
_UNFIT = {
    "conditioner.embedders.0.model.text_projection": "it is SDXL's refiner, which only goes on with another model's pictures",
    "edm_mean": "it is one of Playground's, whose noise no scheduler here fits",
    f"{UNET}distilled_guidance_layer.in_proj.bias": "it is Chroma, which is not among the families that run here",
    f"{UNET}double_stream_modulation_img.lin.weight": "it is Flux 2, which is not among the families that run here",
}
_SCALES = (".scale_weight", ".weight_scale", "scaled_fp8", ".quant_map", ".comfy_quant")


class SingleFileError(ValueError):
    """The file is no model that can be run here; the text says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class SingleFile:
    """``configs`` are those of the pipeline's parts, by their names in diffusers; ``index`` is its model_index.json."""

    path: Path
    family: str
    default_size: int
    features: tuple[str, ...]
    provenance: Provenance
    index: Mapping[str, Any]
    configs: Mapping[str, Config]
    vocabularies: Mapping[str, str]
    """Which vocabulary each of its tokenizers needs: clip or t5."""


def is_checkpoint(shapes: Shapes) -> bool:
    """True for whole models and for denoisers alone."""
    return any(name.startswith((UNET, "double_blocks.", "joint_blocks.", "input_blocks.")) for name in shapes)


def read_single_file(path: Path, allow_pickle: bool = False) -> SingleFile:
    """Raises SingleFileError or TensorFileError."""
    return judge_single_file(read_tensor_file(path, allow_pickle))


def judge_single_file(file: TensorFile) -> SingleFile:
    """Raises SingleFileError."""
    try:
        return _judge(file)
    except ConfigError as error:
        raise SingleFileError(f"{file.path} can't be run here: {error}") from None
    except (KeyError, IndexError, ValueError, TypeError, StopIteration) as error:
        if isinstance(error, SingleFileError):
            raise
        raise SingleFileError(
            f"{file.path} lacks weights that belong to it ({error}): the conversion may be incomplete"
        ) from None


def _judge(file: TensorFile) -> SingleFile:
    shapes = file.shapes
    if fault := next((text for name, text in _UNFIT.items() if name in shapes), ""):
        raise SingleFileError(f"{file.path} can't be run here: {fault}")
    if any(name.endswith(_SCALES) for name in shapes):
        raise SingleFileError(f"{file.path} has scaled or packed 8-bit weights, which diffusers can't load: get the fp16 file")
    family = _family(shapes)
    if not family:
        raise SingleFileError(f"{file.path} is no checkpoint of Stable Diffusion 1, 2, XL, 3 or Flux")
    _check_whole(file.path, shapes, family)
    parts = _transformer_parts(shapes, family) if family in ("sd3", "flux") else _unet_parts(file, family)
    vae = next(prefix for prefix in VAES if _has(shapes, prefix))
    parts["vae"] = ("diffusers", "AutoencoderKL", vae_config(below(shapes, vae), family))
    inpainting = _is_inpainting(shapes)
    pipeline = _INPAINTING["sdxl" if family == "sdxl" else "sd1"] if inpainting else _PIPELINES[family]
    vocabularies = {
        name.replace("text_encoder", "tokenizer"): "t5" if part[1].startswith("T5") else "clip"
        for name, part in parts.items()
        if name.startswith("text_encoder")
    }
    return SingleFile(
        file.path,
        family,
        512 if family in ("sd1", "other") else 1024,
        features_of(family, pipeline, inpainting),
        of_file(file.path, file.notes),
        _index(pipeline, parts, vocabularies),
        {name: config for name, (_, _, config) in parts.items()},
        vocabularies,
    )


def _family(shapes: Shapes) -> str:
    if any("double_blocks.0." in name for name in shapes):
        return "flux"
    if any("joint_blocks.0." in name for name in shapes):
        return "sd3"
    if not any("input_blocks.0." in name for name in shapes):
        return ""
    if _has(shapes, _CLIP_XL_2) or f"{UNET}label_emb.0.0.weight" in shapes:
        return "sdxl"
    widths = {shape[-1] for name, shape in shapes.items() if name.endswith("attn2.to_k.weight")}
    return "other" if _has(shapes, _CLIP_SD2) or 1024 in widths else "sd1"


def _check_whole(path: Path, shapes: Shapes, family: str) -> None:
    """Denoisers alone are common for Flux and SD3. Raises SingleFileError."""
    needed = {
        "sd1": (_CLIP_SD1 + _EMBEDDING,),
        "other": (f"{_CLIP_SD2}token_embedding.weight",),
        "sdxl": (_CLIP_XL + _EMBEDDING, f"{_CLIP_XL_2}positional_embedding"),
        "sd3": (_CLIP_L + _EMBEDDING, _CLIP_G + _EMBEDDING),
        "flux": (_CLIP_L + _EMBEDDING, f"{_T5}shared.weight"),
    }[family]
    missing = [] if all(name in shapes for name in needed) else ["its text encoders"]
    if not any(f"{prefix}decoder.conv_in.weight" in shapes for prefix in VAES):
        missing.append("its VAE")
    if not _has(shapes, UNET) or missing:
        raise SingleFileError(
            f"{path} holds only a part of a model of the family {family}: {' and '.join(missing or ['a prefix'])} not in it. "
            "Get the checkpoint with everything in it, or the model as a diffusers folder"
        )


def _is_inpainting(shapes: Shapes) -> bool:
    first = shapes.get(f"{UNET}input_blocks.0.0.weight", (0, 4))
    if first[1] not in (4, INPAINTING_CHANNELS):
        raise ConfigError(f"its UNet takes {first[1]} channels: it is neither for pictures from text nor for inpainting")
    return first[1] == INPAINTING_CHANNELS


Part = tuple[str, str, Config]


def _unet_parts(file: TensorFile, family: str) -> dict[str, Part]:
    shapes = file.shapes
    unet = unet_config(below(shapes, UNET))
    prediction = "v_prediction" if _predicts_v(file) else "epsilon"
    scheduler = noise_scheduler(prediction, "ztsnr" in shapes)
    parts: dict[str, Part] = {"scheduler": ("diffusers", scheduler["_class_name"], scheduler)}
    if family == "sdxl":
        second = open_clip_config(below(shapes, _CLIP_XL_2))
        unet = with_size_embedding(unet, below(shapes, UNET), second["projection_dim"])
        parts["text_encoder"] = ("transformers", "CLIPTextModel", clip_config(below(shapes, _CLIP_XL)))
        parts["text_encoder_2"] = ("transformers", "CLIPTextModelWithProjection", second)
    elif family == "other":
        # SD 2 was trained on the layer before the last.
        parts["text_encoder"] = ("transformers", "CLIPTextModel", open_clip_config(below(shapes, _CLIP_SD2), 1))
    else:
        parts["text_encoder"] = ("transformers", "CLIPTextModel", clip_config(below(shapes, _CLIP_SD1)))
    unet["sample_size"] = 128 if family == "sdxl" else 64
    parts["unet"] = ("diffusers", "UNet2DConditionModel", unet)
    return parts


def _predicts_v(file: TensorFile) -> bool:
    """By the file itself alone: what lies beside it is not part of what the digest names."""
    return "v_pred" in file.shapes or file.notes.get("modelspec.prediction_type", "").lower() in ("v", "v_prediction")


def _transformer_parts(shapes: Shapes, family: str) -> dict[str, Part]:
    inner = below(shapes, UNET)
    clip = clip_config(below(shapes, _CLIP_L))
    parts: dict[str, Part] = {}
    if family == "sd3":
        big = below(shapes, _CLIP_G)
        parts["transformer"] = ("diffusers", "SD3Transformer2DModel", sd3_config(inner))
        parts["text_encoder"] = ("transformers", "CLIPTextModelWithProjection", clip)
        parts["text_encoder_2"] = ("transformers", "CLIPTextModelWithProjection", clip_config(big, "gelu"))
    else:
        config = flux_config(inner)
        if config["in_channels"] != 64:
            raise ConfigError("it is one of Flux's tools (fill, depth, canny, redux), which are not run here")
        parts["transformer"] = ("diffusers", "FluxTransformer2DModel", config)
        parts["text_encoder"] = ("transformers", "CLIPTextModel", clip)
    if f"{_T5}shared.weight" in shapes:
        name = "text_encoder_3" if family == "sd3" else "text_encoder_2"
        parts[name] = ("transformers", "T5EncoderModel", t5_config(below(shapes, _T5)))
    guided = bool(parts["transformer"][2].get("guidance_embeds"))
    scheduler = flow_scheduler(family, guided)
    parts["scheduler"] = ("diffusers", scheduler["_class_name"], scheduler)
    return parts


def _index(pipeline: str, parts: Mapping[str, Part], vocabularies: Mapping[str, str]) -> dict[str, Any]:
    index: dict[str, Any] = {"_class_name": pipeline}
    index |= {name: [library, kind] for name, (library, kind, _) in parts.items()}
    index |= {name: ["transformers", "T5Tokenizer" if kind == "t5" else "CLIPTokenizer"] for name, kind in vocabularies.items()}
    if pipeline.startswith("StableDiffusion3") and "text_encoder_3" not in parts:
        index |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    if "XL" in pipeline:
        index["force_zeros_for_empty_prompt"] = True
    elif pipeline in ("StableDiffusionPipeline", "StableDiffusionInpaintPipeline"):
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    return index


def _has(shapes: Shapes, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in shapes)
