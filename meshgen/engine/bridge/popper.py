"""A worker as it describes itself with every job that it asks for, and which jobs it can take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from meshgen.engine.bridge.names import CONTROL_TYPES, POST_PROCESSORS, default_size, digest_of, family_of, millions_of
from meshgen.engine.port import AdapterInfo, AnyWork, FormWork, ModelInfo, TextWork, Work

Kind = Literal["image", "text", "alchemy"]
TILE_PIXELS = 512 * 512
MAX_PIXELS = 3072 * 3072
"""AI Horde asks for no larger picture."""
_ALWAYS = ("txt2img", "negative_prompt", "clip_skip", "tiling", "hires_fix")
_ALLOWED = {"img2img": "img2img", "painting": "inpainting", "controlnet": "controlnet"}
"""What a worker may allow, and the feature of its models that this is."""


@dataclass(frozen=True, slots=True)
class Popper:
    """``models`` are forms for an alchemist; ``max_pixels`` is of a picture, or of a form's source."""

    name: str
    kind: Kind
    models: tuple[str, ...]
    agent: str = ""
    threads: int = 1
    amount: int = 1
    max_pixels: int = TILE_PIXELS
    nsfw: bool = False
    allows: frozenset[str] = frozenset()  # img2img, painting, controlnet, post-processing
    blacklist: tuple[str, ...] = field(default=(), repr=False)
    max_tokens: int = 512
    max_context: int = 2048

    def skips(self, work: AnyWork, holes: bool = False) -> str:
        """Why it can't take this, in the word that AI Horde has for it; "" if it can. ``holes``: the source is transparent
        somewhere."""
        match work:
            case Work():
                return "models" if self.kind != "image" or work.model not in self.models else self._skips_picture(work, holes)
            case TextWork():
                return "models" if self.kind != "text" or work.model not in self.models else self._skips_text(work)
            case FormWork():
                return "" if self.kind == "alchemy" and work.form in self.models else "models"

    def is_blacklisted(self, prompt: str) -> bool:
        """Does it hold a word that this worker does not want?"""
        plain = prompt.lower()
        return any(word.lower() in plain for word in self.blacklist if word)

    def infos(self) -> Iterator[ModelInfo]:
        """Its models, as an engine tells them."""
        for name in self.models:
            if self.kind == "image":
                size = default_size(name)
                yield ModelInfo(
                    name, digest_of(name), family_of(name), size, min(self.max_pixels, MAX_PIXELS), self._features(name)
                )
            elif self.kind == "text":
                millions = millions_of(name)
                yield ModelInfo(name, digest_of(name), "text", 512, 512 * 512, millions=millions, context=self.max_context)
            else:
                yield ModelInfo(name, digest_of(name), "alchemy", 512, self.max_pixels)

    def adapters(self) -> Iterator[AdapterInfo]:
        posts = self.kind == "image" and "post-processing" in self.allows
        for name, enlarge in POST_PROCESSORS.items():
            if posts or (self.kind == "alchemy" and name in self.models):
                yield AdapterInfo("post", name, digest_of(name), enlarge=enlarge)
        for name in CONTROL_TYPES if self.kind == "image" and "controlnet" in self.allows else ():
            yield AdapterInfo("controlnet", name, digest_of(name))

    def _features(self, model: str) -> tuple[str, ...]:
        allowed = [feature for word, feature in _ALLOWED.items() if word in self.allows]
        if "inpainting" in model.lower():  # made for that and for nothing else
            return tuple(word for word in (*_ALWAYS, "inpainting") if word not in ("txt2img", "hires_fix"))
        return (*_ALWAYS, *allowed)

    def _skips_picture(self, work: Work, holes: bool) -> str:
        painting = bool(work.mask) or (holes and not work.control)
        asked = {
            "max_pixels": work.width * work.height > self.max_pixels,
            "painting": painting and "painting" not in self.allows,
            "img2img": bool(work.source) and not painting and not work.control and "img2img" not in self.allows,
            "controlnet": work.control is not None and "controlnet" not in self.allows,
            "post-processing": bool(work.post) and "post-processing" not in self.allows,
            "blacklist": self.is_blacklisted(work.prompt),
        }
        return next((word for word, skipped in asked.items() if skipped), "")

    def _skips_text(self, work: TextWork) -> str:
        if work.max_tokens > self.max_tokens:
            return "max_length"
        return "blacklist" if self.is_blacklisted(work.prompt) else ""
