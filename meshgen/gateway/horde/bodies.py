"""What AI Horde's clients send, with its bounds, and its words for what does not fit.

Types are strict and fields that are not known are passed over, both as there: a client that works with it works here, and what
it refuses is refused. A field that means nothing on the mesh stands here all the same, so that a wrong one is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

MAX_PROMPT = 8000  # characters: models that draw read 77 to 512 tokens
MAX_TEXT = 1_000_000
MAX_PICTURE = 24 * 2**20  # characters of base64, or of a URL
MAX_SHOWN = 100
"""Characters of a wrong value that a message repeats."""
SECRET = frozenset(
    ("prompt", "text", "source_image", "source_mask", "image", "stop_sequence", "seed", "extra_texts", "blacklist")
)
"""Values that no message repeats."""

POST_PROCESSORS = (
    "GFPGAN",
    "RealESRGAN_x4plus",
    "RealESRGAN_x2plus",
    "RealESRGAN_x4plus_anime_6B",
    "NMKD_Siax",
    "4x_AnimeSharp",
    "CodeFormers",
    "strip_background",
    "4xNomos8kSC",
    "4xLSDIRplus",
    "4xNomosWebPhoto_RealPLKSR",
    "4xNomos2_realplksr_dysample",
    "4xNomos2_hq_dat2",
    "2xModernSpanimationV1",
    "GFPGANv1.3",
    "RestoreFormer",
)
FORMS = ("caption", "interrogation", "nsfw", "vectorize", "palette", "describe", "aesthetic", *POST_PROCESSORS)
SAMPLERS = (
    *("k_lms", "k_dpm_2", "k_heun", "DDIM", "dpmsolver", "k_dpmpp_2m", "k_euler", "k_euler_a", "k_dpmpp_2s_a", "k_dpm_adaptive"),
    *("lcm", "k_dpm_2_a", "k_dpm_fast", "k_dpmpp_sde"),
)
CONTROL_TYPES = ("canny", "hed", "depth", "normal", "openpose", "seg", "scribble", "fakescribbles", "hough")
INVERSION_PLACES = ("prompt", "negprompt")
WORKFLOWS = ("qr_code",)


def _unique(values: list[str]) -> list[str]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("unique", "has non-unique elements")
    return values


class HordeBody(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, hide_input_in_errors=True)


_Picture = Annotated[str, Field(min_length=1, max_length=MAX_PICTURE, repr=False)]
_Weight = Annotated[float, Field(ge=-5, le=5)]
_Part = Annotated[float, Field(ge=0.01, le=1)]
_Name = Annotated[str, Field(min_length=1, max_length=255)]


class ExtraPicture(HordeBody):
    image: _Picture = ""
    strength: float = 1.0


class ExtraText(HordeBody):
    text: str = Field(default="", min_length=1, max_length=MAX_PROMPT, repr=False)
    reference: str = Field(default="", min_length=3, max_length=255)


class LoraBody(HordeBody):
    name: _Name
    model: _Weight = 1.0
    clip: _Weight = 1.0
    inject_trigger: str = Field(default="", min_length=1, max_length=30)
    is_version: bool = False


class InversionBody(HordeBody):
    name: _Name
    inject_ti: Literal[INVERSION_PLACES] = ""  # type: ignore[valid-type]
    strength: _Weight = 1.0


class ImageParams(HordeBody):
    sampler_name: Literal[SAMPLERS] = "k_euler_a"  # type: ignore[valid-type]
    cfg_scale: float = Field(default=7.5, ge=0, le=100)
    denoising_strength: _Part = 0.75
    hires_fix_denoising_strength: _Part = 0.65
    height: int = Field(default=512, ge=64, le=3072, multiple_of=64)
    width: int = Field(default=512, ge=64, le=3072, multiple_of=64)
    post_processing: Annotated[list[Literal[POST_PROCESSORS]], AfterValidator(_unique)] = []  # type: ignore[valid-type]
    karras: bool = False
    tiling: bool = False
    hires_fix: bool = False
    clip_skip: int = Field(default=1, ge=1, le=12)
    facefixer_strength: float = Field(default=0.75, ge=0, le=1)
    loras: list[LoraBody] = []
    tis: list[InversionBody] = []
    special: dict[str, Any] = {}
    workflow: Literal[WORKFLOWS] = ""  # type: ignore[valid-type]
    transparent: bool = False
    seed: str = Field(default="", max_length=MAX_PROMPT)
    seed_variation: int = Field(default=1, ge=1, le=1000)
    control_type: Literal[CONTROL_TYPES] = ""  # type: ignore[valid-type]
    image_is_control: bool = False
    return_control_map: bool = False
    extra_texts: list[ExtraText] = []
    steps: int = Field(default=30, ge=1, le=500)
    n: int = Field(default=1, ge=1, le=20)


class _WorkBody(HordeBody):
    """What requests for pictures and for texts have in common."""

    trusted_workers: bool = False
    validated_backends: bool = True
    slow_workers: bool = True
    extra_slow_workers: bool = False
    workers: list[Annotated[str, Field(max_length=255)]] = Field(default=[], max_length=5)
    worker_blacklist: bool = False
    models: list[Annotated[str, Field(max_length=255)]] = Field(default=[], max_length=1000)
    dry_run: bool = False
    proxied_account: str = Field(default="", max_length=255)
    extra_source_images: list[ExtraPicture] = Field(default=[], max_length=5)
    disable_batching: bool = False
    allow_downgrade: bool = False
    webhook: str = Field(default="", min_length=10, max_length=1024, repr=False)
    style: str = Field(default="", min_length=3, max_length=1024)


class ImageBody(_WorkBody):
    """A request for pictures: "what to draw ### what not to draw"."""

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT, repr=False)
    params: ImageParams = ImageParams()
    nsfw: bool = False
    censor_nsfw: bool = False
    source_image: _Picture = ""
    source_processing: Literal["img2img", "inpainting", "outpainting", "remix"] = "img2img"
    source_mask: _Picture = ""
    r2: bool = True
    shared: bool = False
    replacement_filter: bool = True


class TextParams(HordeBody):
    """What is None was not sent; AI Horde leaves that to the worker."""

    frmtadsnsp: bool = False
    frmtrmblln: bool = False
    frmtrmspch: bool = False
    frmttriminc: bool = False
    rep_pen: float = Field(default=1.0, ge=1, le=3)
    rep_pen_range: int = Field(default=0, ge=0, le=4096)
    rep_pen_slope: float = Field(default=0, ge=0, le=10)
    singleline: bool = False
    temperature: float = Field(default=0.7, ge=0, le=5)
    tfs: float = Field(default=1, ge=0, le=1)
    top_a: float = Field(default=0, ge=0, le=1)
    top_k: int = Field(default=0, ge=0, le=200)
    top_p: float = Field(default=1, ge=0.001, le=1)
    typical: float = Field(default=1, ge=0, le=1)
    sampler_order: list[int] = Field(default=[], max_length=32)
    use_default_badwordsids: bool = False
    stop_sequence: list[Annotated[str, Field(max_length=1024)]] = Field(default=[], max_length=256, repr=False)
    min_p: float = Field(default=0, ge=0, le=1)
    smoothing_factor: float = Field(default=0, ge=0, le=10)
    dynatemp_range: float = Field(default=0, ge=0, le=5)
    dynatemp_exponent: float = Field(default=1, ge=0, le=5)
    n: int = Field(default=1, ge=1, le=20)
    max_context_length: int = Field(default=2048, ge=80, le=2**20)
    max_length: int = Field(default=80, ge=16, le=4096)


class TextBody(_WorkBody):
    prompt: str = Field(default="", max_length=MAX_TEXT, repr=False)
    params: TextParams = TextParams()
    softprompt: str = Field(default="", min_length=1, max_length=255)


class WantedForm(HordeBody):
    name: Literal[FORMS]  # type: ignore[valid-type]
    payload: dict[str, Any] = Field(default={}, repr=False)


class FormsBody(HordeBody):
    """Forms of alchemy over one picture."""

    forms: list[WantedForm] = Field(default=[], max_length=len(FORMS))
    source_image: str = Field(default="", max_length=MAX_PICTURE, repr=False)
    slow_workers: bool = True
    webhook: str = Field(default="", min_length=10, max_length=1024, repr=False)


class RatingBody(HordeBody):
    id: str = Field(min_length=36, max_length=36)
    rating: int = Field(ge=1, le=10)
    artifacts: int = Field(default=0, ge=0, le=5)


class RatingsBody(HordeBody):
    best: str = Field(default="", min_length=36, max_length=36)
    ratings: list[RatingBody] = Field(default=[], max_length=20)


_TYPES = {"bool": "boolean", "int": "integer", "float": "number", "string": "string", "list": "array", "dict": "object"}
_TYPES |= {"model": "object", "model_attributes": "object", "finite_number": "number"}
_BOUNDS = {
    "greater_than_equal": ("ge", "is less than the minimum of"),
    "greater_than": ("gt", "is less than or equal to the minimum of"),
    "less_than_equal": ("le", "is greater than the maximum of"),
    "less_than": ("lt", "is greater than or equal to the maximum of"),
    "multiple_of": ("multiple_of", "is not a multiple of"),
}


def horde_faults(errors: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Every fault that pydantic found, by its dotted name, in the words that AI Horde's schema check has for it."""
    faults: dict[str, str] = {}
    for error in errors:
        path = [str(step) for step in error["loc"] if step not in ("body", "query", "path", "header")]
        faults.setdefault(".".join(path), _worded(error, path))
    return faults


def _worded(error: Mapping[str, Any], path: list[str]) -> str:
    kind, context = str(error["type"]), error.get("ctx") or {}
    given = _shown(error.get("input"), path)
    if kind == "missing":
        return f"'{path[-1] if path else 'body'}' is a required property"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{given} {words} {_plain(context[name])}"
    if kind in ("string_too_short", "too_short"):
        return f"{given} should be non-empty" if not error.get("input") else f"{given} is too short"
    if kind in ("string_too_long", "too_long"):
        return f"{given} is too long"
    if kind == "literal_error":
        return f"{given} is not one of [{str(context['expected']).replace(' or ', ', ')}]"
    if kind == "unique":
        return f"{given} has non-unique elements"
    wanted = _TYPES.get(kind.removesuffix("_type").removesuffix("_parsing"))
    return f"{given} is not of type '{wanted}'" if wanted else str(error["msg"])


def _shown(value: object, path: list[str]) -> str:
    """The value as AI Horde repeats it, unless it is or holds what nobody else should read."""
    holds = not path or isinstance(value, bytes | Mapping)
    if value and (holds or not SECRET.isdisjoint(path)):
        return "this value"
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _plain(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else str(bound)
