"""Which forms are offered: those whose weights are there, named by their digests; the others with a reason that helps."""

from __future__ import annotations

import importlib.util
import json
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from meshgen.engine.alchemy import forms
from meshgen.engine.alchemy.forms import UPSCALERS, find_forms
from meshgen.engine.alchemy.word_lists import LISTS, words
from meshgen.pictures import MAX_SIDE
from tests.engine.alchemy.tiny_models import save_upscaler


@pytest.fixture
def none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms.importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def torch_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    there = ModuleSpec("torch", None, origin=__file__)
    monkeypatch.setattr(
        forms.importlib.util, "find_spec", lambda name: there if name in ("torch", "transformers") else real(name)
    )


def model_in(folder: Path, kind: object = "blip") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_without_packages_every_form_says_how_to_get_them(none_installed: None, tmp_path: Path) -> None:
    model_in(tmp_path / "caption")
    found, missing = find_forms(tmp_path)
    assert not found and set(missing) == {"nsfw", "strip_background", "caption", "interrogation", *UPSCALERS}
    assert "pip install 'meshgen-node[alchemist]'" in missing["nsfw"]
    assert "pip install 'meshgen-node[worker]'" in missing["caption"]
    assert "interrogation/" in missing["interrogation"]


def test_an_owners_upscaler_is_named_by_its_files(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    save_upscaler(tmp_path, "NMKD_Siax", 4)
    save_upscaler(tmp_path, "RealESRGAN_x2plus", 2)
    found, missing = find_forms(tmp_path)
    one, two = found["NMKD_Siax"], found["RealESRGAN_x2plus"]
    assert (one.enlarge, two.enlarge) == (4, 2) and one.digest != two.digest and "4x_AnimeSharp" in missing
    assert one.model().family == "alchemy" and one.model().max_pixels == (MAX_SIDE // 4) ** 2
    assert one.post().kind == "post" and one.post().enlarge == 4 and one.post().digest == one.digest == one.model().digest
    save_upscaler(tmp_path, "NMKD_Siax", 2)
    assert find_forms(tmp_path)[0]["NMKD_Siax"].digest != one.digest
    (tmp_path / "NMKD_Siax.bin").unlink()
    assert "NMKD_Siax.bin is missing" in find_forms(tmp_path)[1]["NMKD_Siax"]


def test_a_model_in_the_folder_is_offered_and_named_by_its_files(torch_installed: None, tmp_path: Path) -> None:
    model_in(tmp_path / "caption")
    model_in(tmp_path / "interrogation", "clip")
    found, _ = find_forms(tmp_path)
    assert found["caption"].crew == found["interrogation"].crew == "torch"
    assert found["caption"].digest != found["interrogation"].digest
    (tmp_path / "caption" / "model.safetensors").write_bytes(b"other weights")
    assert find_forms(tmp_path)[0]["caption"].digest != found["caption"].digest


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder: (folder / "config.json").write_text('{"model_type": "llama"}'), "'llama'"),
        (lambda folder: (folder / "config.json").write_text("[]"), "type ''"),
        (lambda folder: (folder / "config.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "config.json").write_text(" " * 2_000_000), "too long"),
        (lambda folder: (folder / "modeling.py").write_text("print(1)"), "own code"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "pickles"),
        (lambda folder: (folder / "config.json").unlink(), "put a model"),
    ],
)
def test_what_can_not_be_used_says_why(torch_installed: None, tmp_path: Path, spoil: object, why: str) -> None:
    spoil(model_in(tmp_path / "caption"))  # type: ignore[operator]
    found, missing = find_forms(tmp_path)
    assert "caption" not in found and why in missing["caption"]


def test_all_seven_lists_have_words() -> None:
    assert list(LISTS) == ["tags", "sites", "artists", "flavors", "mediums", "movements", "techniques"]
    for name in LISTS:
        assert len(words(name)) >= 20 and len(set(words(name))) == len(words(name)), name
