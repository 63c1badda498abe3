"""Installations of other programs are read where they are, and nothing in them is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshgen.engine.models import places as places_module
from meshgen.engine.models.judging import NotTaken, judge, snapshot_of
from meshgen.engine.models.places import Found, kind_of_place, look_through, suggest
from tests.engine.folders import SD1_SHAPES, hub_model, lora_file, model_folder, tensor_file


def names(found: list[Found]) -> dict[str, str]:
    return {one.path.name: one.kind for one in found}


def comfy(path: Path) -> Path:
    tensor_file(path / "models" / "checkpoints" / "xl" / "model.safetensors", SD1_SHAPES)
    lora_file(path / "models" / "loras" / "detail.safetensors")
    tensor_file(path / "models" / "upscale_models" / "4x.pth", {"a": (1,)})
    (path / "models" / "vae").mkdir()
    tensor_file(path / "models" / "vae" / "vae.safetensors", {"a": (1,)})
    return path


def test_comfyui(tmp_path: Path) -> None:
    path = comfy(tmp_path / "ComfyUI")
    assert kind_of_place(path) == kind_of_place(path / "models") == "ComfyUI"
    assert names(look_through(path)) == {"model.safetensors": "model", "detail.safetensors": "lora", "4x.pth": "post"}
    assert look_through(path / "models") == look_through(path)


def test_comfyui_is_told_of_models_elsewhere(tmp_path: Path) -> None:
    path = comfy(tmp_path / "ComfyUI")
    lora_file(tmp_path / "nas" / "sd" / "lora" / "one.safetensors")
    lora_file(tmp_path / "nas" / "sd" / "lyco" / "two.safetensors")
    (path / "extra_model_paths.yaml").write_text(
        f"a111:\n  base_path: {tmp_path}/nas/sd/\n  loras: |\n    lora\n    lyco\n  clip: x\nbroken: 7\n"
    )
    assert {"one.safetensors", "two.safetensors"} <= set(names(look_through(path)))


@pytest.mark.parametrize("text", ["", "[", "a: [1]", "a:\n  loras: 7\n  base_path: [1]", "- 1", "\x00"])
def test_strange_settings_of_comfyui_are_passed_over(tmp_path: Path, text: str) -> None:
    path = comfy(tmp_path / "ComfyUI")
    (path / "extra_model_paths.yaml").write_text(text)
    assert len(look_through(path)) == 3


def test_a_web_ui(tmp_path: Path) -> None:
    path = tmp_path / "stable-diffusion-webui"
    tensor_file(path / "models" / "Stable-diffusion" / "model.safetensors", SD1_SHAPES)
    lora_file(path / "models" / "Lora" / "sub" / "detail.safetensors")
    tensor_file(path / "embeddings" / "easynegative.safetensors", {"emb_params": (2, 768)})
    (path / "models" / "Lora" / ".hidden").mkdir()
    assert kind_of_place(path) == "web UI"
    assert set(names(look_through(path)).values()) == {"model", "lora", "inversion"}


def test_a_cache_of_hugging_face(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    snapshot = hub_model(cache, "acme/tiny-sd", model_folder(tmp_path / "content"))
    (cache / "models--acme--empty").mkdir()
    single = tmp_path / "files"
    lora_file(single / "a.safetensors")
    files = hub_model(cache, "acme/loras", single)
    assert kind_of_place(cache) == "Hugging Face cache"
    assert {one.path for one in look_through(cache)} == {snapshot, files / "a.safetensors"}
    assert kind_of_place(snapshot.parent.parent) == "" and snapshot_of(snapshot.parent.parent) == snapshot
    assert kind_of_place(files.parent.parent) == "folder" and names(look_through(files.parent.parent)) == {"a.safetensors": ""}
    with pytest.raises(NotTaken, match="no snapshot"):
        judge(cache / "models--acme--empty")


def test_a_cut_download_in_a_cache_is_named(tmp_path: Path) -> None:
    snapshot = hub_model(tmp_path / "hub", "acme/tiny-sd", model_folder(tmp_path / "content"))
    weights = snapshot / "unet" / "diffusion_pytorch_model.safetensors"
    weights.resolve().unlink()
    with pytest.raises(NotTaken, match=f"{weights} links to .*, which is not there"):
        judge(snapshot)
    (snapshot / "model_index.json").resolve().unlink()
    assert [one.path for one in look_through(tmp_path / "hub")] == [snapshot]
    with pytest.raises(NotTaken, match=r"model_index\.json links to"):
        judge(snapshot)


def test_any_folder(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    model_folder(folder / "deep" / "diffusers-model")
    lora_file(folder / "deep" / "x.safetensors")
    (folder / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    (folder / "notes.txt").write_text("not a model")
    (folder / "loop").symlink_to(folder)
    listed = look_through(folder)
    found = {one.path.name: one for one in listed}
    assert set(found) == {"diffusers-model", "x.safetensors", "gone.safetensors"} and len(listed) == 3
    assert "which is not there" in found["gone.safetensors"].fault
    assert kind_of_place(folder) == "folder" and kind_of_place(folder / "deep" / "diffusers-model") == ""
    assert kind_of_place(folder / "notes.txt") == "" and look_through(tmp_path / "nothing")[0].fault


def test_usual_places_are_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(places_module, "_WHERE", ())
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert suggest() == []
    comfy(tmp_path / "ComfyUI")
    hub_model(tmp_path / ".cache" / "huggingface" / "hub", "acme/tiny-sd", model_folder(tmp_path / "content"))
    assert {place.kind for place in suggest()} == {"ComfyUI", "Hugging Face cache"}


def test_what_is_judged(tmp_path: Path) -> None:
    lora = judge(lora_file(tmp_path / "x.safetensors"))
    assert (lora.kind, lora.format, lora.family) == ("lora", "file", "sd1")
    single = judge(tensor_file(tmp_path / "y.safetensors", SD1_SHAPES))
    assert (single.kind, single.format, single.vocabularies) == ("model", "single_file", (("clip", 6),))
    folder = judge(model_folder(tmp_path / "z"))
    assert (folder.kind, folder.format, folder.family) == ("model", "diffusers", "sd1")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    with pytest.raises(NotTaken, match="one part of a diffusers model"):
        judge(tmp_path / "v")
    for path, text in ((tmp_path / "w", "ForCausalLM"), (tmp_path / "nothing", "does not exist"), (tmp_path, "model_index")):
        with pytest.raises(NotTaken, match=text):
            judge(path)
