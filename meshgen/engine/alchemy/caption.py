"""Captions, by an image-to-text model of transformers: BLIP, GIT, or a vision encoder with a text decoder. Needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer, VisionEncoderDecoderModel

from meshgen.engine.alchemy.picture import flat

MAX_TOKENS = 40


class Captioner:
    def __init__(self, folder: Path, device: str) -> None:
        """Raises OSError or ValueError if the folder holds no such model."""
        two_parts = '"vision-encoder-decoder"' in (folder / "config.json").read_text("utf-8")
        maker = VisionEncoderDecoderModel if two_parts else AutoModelForImageTextToText
        self._model: Any = maker.from_pretrained(folder, local_files_only=True, use_safetensors=True, trust_remote_code=False)
        self._model.to(device).eval()
        look = AutoImageProcessor if two_parts else AutoProcessor
        self._processor: Any = look.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._words: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._device = device

    def describe(self, picture: Image.Image) -> dict[str, Any]:
        """``{"caption": text}``."""
        pixels = self._processor(images=flat(picture), return_tensors="pt")["pixel_values"].to(self._device)
        with torch.inference_mode():
            tokens = self._model.generate(pixel_values=pixels, max_new_tokens=MAX_TOKENS, do_sample=False)
        text = self._words.decode(tokens[0], skip_special_tokens=True)
        return {"caption": " ".join(text.split())}
