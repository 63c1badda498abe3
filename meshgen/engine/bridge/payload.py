"""A job in AI Horde's words, as its workers read them. Sources and masks go beside it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from meshgen.engine.bridge.names import digest_of
from meshgen.engine.port import AnyWork, EngineError, FormWork, TextWork, Work
from meshgen.engine.schedulers import horde_sampler

SIDE_STEP, MIN_SIDE, MAX_SIDE = 64, 64, 3072
MAX_STEPS = 500
_BETWEEN = " ### "
"""The prompt stands before it, what not to draw behind it."""


def payload_of(work: AnyWork) -> dict[str, Any]:
    """Without seed and count. Raises EngineError for what AI Horde's workers can't be asked for."""
    match work:
        case Work():
            _check(work)
            return _picture(work)
        case TextWork():
            return _text(work)
        case FormWork():
            return {}


def source_of(work: Work) -> bytes:
    """The one picture that goes with a job."""
    return work.control.image if work.control else work.source


def processing_of(work: Work, holes: bool) -> str:
    """What is done with that picture. ``holes``: it is transparent somewhere, and that is what is painted."""
    return "inpainting" if work.mask or (holes and not work.control) else "img2img"


def has_holes(picture: bytes) -> bool:
    """Is it transparent anywhere? Decodes it: for a thread. Raises EngineError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(picture), formats=("PNG", "JPEG", "WEBP")) as image:
            if not image.has_transparency_data:
                return False
            low, _ = image.convert("RGBA").getchannel("A").getextrema()
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        raise EngineError("bad_input", "the picture to start from can't be read") from None
    return isinstance(low, (int, float)) and low < 255


def _check(work: Work) -> None:
    sides = (work.width, work.height)
    if any(side % SIDE_STEP or not MIN_SIDE <= side <= MAX_SIDE for side in sides):
        text = f"{work.width}x{work.height}: AI Horde's workers draw sides that are multiples of {SIDE_STEP}, at most {MAX_SIDE}"
        raise EngineError("unsupported", text)
    if work.steps > MAX_STEPS:
        raise EngineError("unsupported", f"{work.steps} steps: AI Horde's workers take {MAX_STEPS} at most")
    if work.loras or work.inversions:
        raise EngineError("unsupported", "AI Horde's workers know LoRAs and inversions by other names than their weights")
    if work.control and work.control.digest != digest_of(work.control.name):
        raise EngineError("unsupported", "AI Horde's workers have other ControlNets than the one that is wanted")
    if work.control and work.source and work.source != work.control.image:
        raise EngineError("unsupported", "AI Horde's workers take one picture: to start from, or to follow")


def _picture(work: Work) -> dict[str, Any]:
    sampler = horde_sampler(work.scheduler)
    if sampler is None:
        raise EngineError("unsupported", f"AI Horde's workers have no scheduler {work.scheduler[:48]!r}")
    texts = [text.replace("###", "##") for text in (work.prompt, work.negative_prompt) if text]
    payload: dict[str, Any] = {
        "prompt": _BETWEEN.join(texts) if work.prompt or not texts else f"{_BETWEEN}{texts[0]}",
        "ddim_steps": work.steps,
        "sampler_name": sampler[0],
        "karras": sampler[1],
        "cfg_scale": work.guidance_scale,
        "width": work.width,
        "height": work.height,
        "tiling": work.tiling,
        "hires_fix": work.hires_fix,
        "clip_skip": work.clip_skip,
        "post_processing": list(work.post),
        "loras": [],
        "tis": [],
    }
    if work.source:
        payload["denoising_strength"] = max(work.strength, 0.01)
    if work.control:
        control = work.control
        payload |= {"control_type": control.name, "image_is_control": control.is_map, "return_control_map": control.return_map}
    return payload


def _text(work: TextWork) -> dict[str, Any]:
    return {
        "prompt": work.prompt,
        "n": 1,
        "max_length": work.max_tokens,
        "temperature": work.temperature,
        "top_p": work.top_p,
        "top_k": work.top_k,
        "min_p": work.min_p,
        "rep_pen": work.repetition_penalty or 1.0,
        "stop_sequence": list(work.stop),
    }
