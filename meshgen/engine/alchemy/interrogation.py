"""Which words fit a picture, list by list, as a CLIP model sees it. Needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoProcessor, CLIPModel

from meshgen.engine.alchemy.picture import flat
from meshgen.engine.alchemy.word_lists import LISTS, words

SHOWN = 5
"""The words of each list that are told, the likeliest first."""
_BATCH = 64


class Interrogator:
    def __init__(self, folder: Path, device: str) -> None:
        """Raises OSError or ValueError if the folder holds no such model."""
        self._model: Any = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._model.to(device).eval()
        self._processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self._device = device
        self._known = {name: self._encoded([phrase.format(word) for word in words(name)]) for name, phrase in LISTS.items()}

    def interrogate(self, picture: Image.Image) -> dict[str, Any]:
        """``{"interrogation": {list: [{"text", "confidence"}]}}``; confidences are shares of 1 within a list."""
        pixels = self._processor(images=flat(picture), return_tensors="pt")["pixel_values"].to(self._device)
        with torch.inference_mode():
            seen = _unit(self._model.get_image_features(pixel_values=pixels))
            return {"interrogation": {name: self._ranked(name, seen) for name in LISTS}}

    def _ranked(self, name: str, seen: Any) -> list[dict[str, Any]]:
        likeness = (self._model.logit_scale.exp() * (self._known[name] @ seen[0])).softmax(0)
        best = likeness.topk(min(SHOWN, len(likeness)))
        return [
            {"text": words(name)[index], "confidence": round(float(share), 6)}
            for share, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def _encoded(self, phrases: list[str]) -> Any:
        """(phrases, features), each of length 1."""
        found = []
        with torch.inference_mode():
            for start in range(0, len(phrases), _BATCH):
                tokens = self._processor(text=phrases[start : start + _BATCH], return_tensors="pt", padding=True, truncation=True)
                given = {key: tokens[key].to(self._device) for key in ("input_ids", "attention_mask")}
                found.append(_unit(self._model.get_text_features(**given)))
        return torch.cat(found)


def _unit(features: Any) -> Any:
    vectors = getattr(features, "pooler_output", features)
    return vectors / vectors.norm(dim=-1, keepdim=True)
