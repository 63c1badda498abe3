"""Which of the installed models are served: by name, by family, or by what the mesh asks for. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from meshgen.engine.port import ModelInfo

FAMILY_WORDS = {
    "sd1": "sd1",
    "sd15": "sd1",
    "sdxl": "sdxl",
    "sd3": "sd3",
    "flux": "flux",
    "other": "other",
    "text": "text",
}
"""As people write a family in a selector, and its name in adverts."""
INPAINTING = "inpainting"
"""In a selector: models that were made for that and do nothing else."""
FIND_FORMS = frozenset(("caption", "nsfw", "interrogation"))
"""Forms of alchemy that tell something of a picture; all others make a picture of it."""
_SELECTOR = re.compile(r"(all|top|bottom)(?:\s+(\d{1,3}))?(?:\s+(\w+))??(?:\s+models)?", re.IGNORECASE | re.ASCII)


def select(models: Iterable[ModelInfo], words: Sequence[str], demand: Mapping[str, int]) -> list[ModelInfo]:
    """Those that any of the words means, in the models' order, which also decides between models of equal demand."""
    models = list(models)
    names = {model.name for word in words for model in _meant(models, word, demand)}
    return [model for model in models if model.name in names]


def selector_fault(word: str) -> str:
    """What is wrong with it, if it was meant as a selector; "" if nothing, or if it is a name."""
    match = _SELECTOR.fullmatch(word.strip())
    if not match:
        return ""
    kind, number, family = match[1].lower(), match[2], (match[3] or "").lower()
    if (kind == "all") == bool(number):
        return f"{word!r}: say ALL, or TOP and a number"
    if family and family not in (*FAMILY_WORDS, INPAINTING):
        return f"{word!r}: there is no family {match[3]!r}; there are {', '.join((*FAMILY_WORDS, INPAINTING)).upper()}"
    return ""


def select_forms(forms: Iterable[ModelInfo], words: Sequence[str]) -> list[ModelInfo]:
    """Forms of alchemy by name; ``post-process`` is all that make a picture."""
    wanted = {word.lower() for word in words}
    found = list(forms)
    return [form for form in found if "all" in wanted or form.name.lower() in wanted or _is_made(form, wanted)]


def _is_made(form: ModelInfo, wanted: set[str]) -> bool:
    return "post-process" in wanted and form.name not in FIND_FORMS


def _meant(models: list[ModelInfo], word: str, demand: Mapping[str, int]) -> list[ModelInfo]:
    named = [model for model in models if model.name == word]
    match = _SELECTOR.fullmatch(word.strip())
    if named or not match or selector_fault(word):
        return named
    kind, family = match[1].lower(), (match[3] or "").lower()
    meant = [model for model in models if not family or _is_of(model, family)]
    if kind == "all":
        return meant
    ranked = sorted(meant, key=lambda model: -demand.get(model.name, 0))
    number = int(match[2])
    return ranked[:number] if kind == "top" else ranked[max(0, len(ranked) - number) :]


def _is_of(model: ModelInfo, family: str) -> bool:
    if family == INPAINTING:
        return INPAINTING in model.features and "txt2img" not in model.features
    return model.family == FAMILY_WORDS[family]
