"""What AI Horde's names tell. Its workers' weights are known by the name in AI Horde's model reference alone."""

from __future__ import annotations

import hashlib
import re

_CONTEXT = b"meshgen/horde-model/1\0"

POST_PROCESSORS = {
    "GFPGAN": 1,
    "GFPGANv1.3": 1,
    "CodeFormers": 1,
    "RestoreFormer": 1,
    "strip_background": 1,
    "RealESRGAN_x2plus": 2,
    "2xModernSpanimationV1": 2,
    "RealESRGAN_x4plus": 4,
    "RealESRGAN_x4plus_anime_6B": 4,
    "NMKD_Siax": 4,
    "4x_AnimeSharp": 4,
    "4xNomos8kSC": 4,
    "4xLSDIRplus": 4,
    "4xNomosWebPhoto_RealPLKSR": 4,
    "4xNomos2_realplksr_dysample": 4,
    "4xNomos2_hq_dat2": 4,
}
"""How many times each makes the sides grow."""
CONTROL_TYPES = ("canny", "hed", "depth", "normal", "openpose", "seg", "scribble", "fakescribbles", "hough")

_FAMILIES = (
    ("flux", re.compile(r"flux")),
    ("sd3", re.compile(r"sd ?3|stable[ _]diffusion[ _]3")),
    ("sdxl", re.compile(r"xl(?![a-z])|pony|illustrious|noob")),
    (
        "sd1",
        re.compile(r"stable_diffusion(_inpainting)?$|deliberate|dreamshaper|anything|epicrealism|realistic vision|revanimated"),
    ),
)
_LARGE = re.compile(r"cascade|qwen|z-image|chroma|hidream")
_SIZE = re.compile(r"(\d{1,4}(?:[.]\d{1,3})?)\s*b(?![a-z0-9])")


def digest_of(name: str) -> bytes:
    """Stands for the weights: two workers mean the same by one name. See protocols/advert."""
    return hashlib.sha256(_CONTEXT + name.encode()).digest()


def family_of(model: str) -> str:
    """A guess: one of the picture families."""
    return next((family for family, pattern in _FAMILIES if pattern.search(model.lower())), "other")


def default_size(model: str) -> int:
    """Pixels of a side: a guess too."""
    return 1024 if family_of(model) in ("flux", "sd3", "sdxl") or _LARGE.search(model.lower()) else 512


def millions_of(model: str) -> int:
    """A text model's parameters, as far as its name tells them: ``koboldcpp/tiny-1.1b`` has 1100 million. 0 if it does not."""
    found = _SIZE.search(model.lower())
    return round(float(found[1]) * 1000) if found else 0
