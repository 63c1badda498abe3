"""AI Horde's request for pictures in the mesh's terms. What has no counterpart is told to the client, never passed over."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meshgen.engine.port import EngineError
from meshgen.engine.schedulers import KARRAS, scheduler_of
from meshgen.gateway.horde.bodies import ImageBody, ImageParams
from meshgen.gateway.horde.errors import HordeError
from meshgen.gateway.horde.intake import Caution, caution
from meshgen.peers.request import ControlWish, ImageRequest, InversionWish, LoraWish
from meshgen.pictures import measure
from meshgen.protocols.order import MAX_POST

SEPARATOR = "###"
SEEDS = 2**32
PAINTING = ("inpainting", "outpainting")
MAX_LORAS, MAX_INVERSIONS = 5, 20
FLOW_FAMILIES = ("sd3", "flux")
"""Trained by flow matching: other schedulers than k_euler and k_heun draw nothing with them."""
FLOW_SAMPLERS = ("k_euler", "k_heun")
PLACES = {"prompt": "prompt", "negprompt": "negative_prompt", "": "none"}
DIGEST_HEX = 8
_IGNORED = {
    "trusted_workers": "nobody calls workers trusted here; each node goes by its own experience of them",
    "censor_nsfw": "nobody looks at what was drawn, so nothing is censored",
    "extra_source_images": "one source image is all that is looked at",
}
_IGNORED_PARAMS = {
    "special": "it has no meaning on the mesh",
    "extra_texts": "the prompt is all that is read",
    "workflow": "there are no workflows on the mesh",
    "transparent": "there is no model for transparent pictures; ask for the post-processor strip_background instead",
}


@dataclass(slots=True)
class Translation:
    """``metadata``: ``{type, value, ref}`` that each generation gets."""

    cautions: list[Caution] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)

    def ignored(self, name: str, why: str) -> None:
        self.cautions.append(caution("FieldIgnored", f"Warning: {name} was ignored: {why}."))

    def left_out(self, kind: str, name: str, what: str) -> None:
        """``kind`` is AI Horde's for the metadata."""
        shown = name[:64]
        self.cautions.append(
            caution("NotAvailable", f"Warning: no worker that is known has the {what} '{shown}': it was left out.")
        )
        if kind == "information":
            self.metadata.append({"type": kind, "value": "see_ref", "ref": f"without {shown}"})
        else:
            self.metadata.append({"type": kind, "value": "download_failed", "ref": shown})


@dataclass(frozen=True, slots=True)
class Given:
    """The pictures that go in, encoded."""

    source: bytes = field(default=b"", repr=False)
    mask: bytes = field(default=b"", repr=False)


def check_image(body: ImageBody) -> None:
    """What AI Horde refuses although each field is well-formed. Raises HordeError."""
    params = body.params
    faults = (
        (bool(body.proxied_account), "OnlyServiceAccountProxy", "Only service accounts can provide a proxied_account value."),
        (params.control_type and not body.source_image, "ControlNetSourceMissing", "Controlnet Requires a source image."),
        (
            params.control_type and params.image_is_control and params.return_control_map,
            "ControlNetInvalidPayload",
            "A control map that is sent can't be asked for too: leave out image_is_control or return_control_map.",
        ),
        (
            body.source_mask and not body.source_image,
            "SourceMaskUnnecessary",
            "A source_mask needs a source_image that it is for.",
        ),
        (body.source_processing == "remix", "InvalidRemixModel", "No model of the mesh can remix images."),
        (len(params.loras) > MAX_LORAS, "TooManyLoras", f"A request can have {MAX_LORAS} LoRAs at most."),
        (len(params.tis) > MAX_INVERSIONS, "TooManyTIs", f"A request can have {MAX_INVERSIONS} textual inversions at most."),
        (len(params.post_processing) > MAX_POST, "TooManyUpscalers", f"A request can have {MAX_POST} post-processors at most."),
    )
    for at_fault, rc, message in faults:
        if at_fault:
            raise HordeError(400, rc, message)


def check_painting(body: ImageBody, given: Given) -> None:
    """Something must say what is to be painted anew. Raises HordeError."""
    if body.source_processing in PAINTING and given.source and not given.mask and not measure(given.source).transparent:
        message = "Nothing says what to paint anew: send a source_mask, or a source_image that is transparent there."
        raise HordeError(400, "InpaintingMissingMask", message)


def plain_request(body: ImageBody, given: Given) -> ImageRequest:
    """All that does not depend on what the mesh has."""
    params = body.params
    prompt, _, negative = body.prompt.partition(SEPARATOR)
    strength = (
        1.0
        if body.source_processing in PAINTING and "denoising_strength" not in params.model_fields_set
        else params.denoising_strength
    )
    shared = body.shared and not given.source if "shared" in body.model_fields_set else None
    return ImageRequest(
        prompt=prompt.strip(),
        negative_prompt=negative.strip(),
        width=params.width,
        height=params.height,
        steps=params.steps,
        guidance_scale=params.cfg_scale,
        seed=seed_of(params.seed),
        count=params.n,
        shared=shared,
        nsfw=body.nsfw,
        source=b"" if params.control_type else given.source,
        mask=b"" if params.control_type else given.mask,
        strength=strength,
        clip_skip=params.clip_skip,
        tiling=params.tiling,
        hires_fix=params.hires_fix,
        control=_control(params, given.source),
    )


def _control(params: ImageParams, source: bytes) -> ControlWish | None:
    if not params.control_type:
        return None
    kind = params.control_type
    return ControlWish(kind, source, is_map=params.image_is_control, return_map=params.return_control_map)


def fitted(
    request: ImageRequest, body: ImageBody, family: str, adapters: Sequence[Mapping[str, Any]], told: Translation
) -> ImageRequest:
    """With the scheduler, and with those adapters that somebody has for models of that family; ``told`` says what is missing."""
    held = _Held(family, adapters)
    params = body.params
    _tell_ignored(body, told)
    return replace(
        request,
        scheduler=_scheduler(params, family, told),
        loras=tuple(_loras(params, held, told)),
        inversions=tuple(_inversions(params, held, told)),
        post=tuple(_post(params, held, told)),
    )


def by_seed(request: ImageRequest, body: ImageBody) -> list[ImageRequest]:
    """One request; or, where seeds are to be further apart than 1, one a picture."""
    apart = body.params.seed_variation
    if apart == 1 or request.count == 1:
        return [request]
    first = secrets.randbelow(SEEDS) if request.seed is None else request.seed
    return [replace(request, count=1, seed=(first + apart * place) % SEEDS) for place in range(request.count)]


def seed_of(text: str) -> int | None:
    """A number, or any text as the number that its bytes are, as AI Horde reads it; of a large one its upper 32 bits."""
    if not text:
        return None
    number = int(text) if text.isdecimal() and len(text) <= 64 else int.from_bytes(text.encode(), "little")
    return number >> (max(0, number.bit_length() - 1) // 32 * 32)


class _Held:
    """Adapters that workers have for models of one family; any family while the model is not known."""

    def __init__(self, family: str, adapters: Sequence[Mapping[str, Any]]) -> None:
        self._rows = [row for row in adapters if not family or row["family"] in ("", family)]

    def has(self, kind: str, name: str) -> bool:
        by_digest = len(name) >= DIGEST_HEX
        return any(
            row["kind"] == kind and (row["name"] == name or (by_digest and row["digest"].startswith(name))) for row in self._rows
        )


def _scheduler(params: ImageParams, family: str, told: Translation) -> str:
    name = params.sampler_name
    if family in FLOW_FAMILIES:
        if name not in FLOW_SAMPLERS:
            told.cautions.append(
                caution("SamplerMismatch", f"Warning: {name} does not fit this model: it takes its own sampler.")
            )
        return name if name in FLOW_SAMPLERS else ""
    try:
        scheduler_of(name)
    except EngineError:
        told.cautions.append(
            caution("SamplerMismatch", f"Warning: {name} is not known on the mesh: the model takes its own sampler.")
        )
        return ""
    return _with_karras(name, told) if params.karras else name


def _with_karras(name: str, told: Translation) -> str:
    try:
        scheduler_of(name + KARRAS)
    except EngineError:
        told.cautions.append(caution("SchedulerMismatch", f"Warning: {name} has no karras schedule here: it takes its own."))
        return name
    return name + KARRAS


def _loras(params: ImageParams, held: _Held, told: Translation) -> Iterable[LoraWish]:
    for lora in params.loras:
        if lora.inject_trigger:
            told.ignored("loras.inject_trigger", "triggers are not known here; write them into the prompt")
        if held.has("lora", lora.name):
            yield LoraWish(lora.name, lora.model, lora.clip)
        else:
            told.left_out("lora", lora.name, "LoRA")


def _inversions(params: ImageParams, held: _Held, told: Translation) -> Iterable[InversionWish]:
    for inversion in params.tis:
        if held.has("inversion", inversion.name):
            yield InversionWish(inversion.name, PLACES[inversion.inject_ti], inversion.strength)
        else:
            told.left_out("ti", inversion.name, "textual inversion")


def _post(params: ImageParams, held: _Held, told: Translation) -> Iterable[str]:
    for name in params.post_processing:
        if held.has("post", name):
            yield name
        else:
            told.left_out("information", name, "post-processor")


def _tell_ignored(body: ImageBody, told: Translation) -> None:
    params = body.params
    for name, why in _IGNORED.items():
        if getattr(body, name):
            told.ignored(name, why)
    for name, why in _IGNORED_PARAMS.items():
        if getattr(params, name):
            told.ignored(name, why)
    if params.hires_fix and "hires_fix_denoising_strength" in params.model_fields_set:
        told.ignored("hires_fix_denoising_strength", "the second pass has a strength of its own")
    if params.control_type and (body.source_mask or body.source_processing != "img2img"):
        told.ignored("source_processing", "with a control_type the source image is what controls, and nothing else")
