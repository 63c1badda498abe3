"""meshgen models ls|add|rm|show|check|scan: what people see, and what they are told when something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from meshgen.cli.adding import add_all, add_one
from meshgen.cli.faults import Cancelled
from meshgen.engine.models import catalog as catalog_module
from meshgen.engine.models.catalog import Catalog
from meshgen.engine.models.places import look_through
from tests.engine.folders import SD1_SHAPES, clip_vocabulary, hub_model, lora_file, model_folder, safetensors, tensor_file

Cli = Callable[..., Result]
WIDTH = 80


@pytest.fixture(autouse=True)
def nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this machine's models nor those that come along."""
    monkeypatch.setattr(catalog_module, "model_path", lambda: tmp_path / "none")
    monkeypatch.setattr(catalog_module, "text_models", list)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)


@pytest.fixture
def comfy(tmp_path: Path) -> Path:
    path = tmp_path / "ComfyUI"
    clip_vocabulary(path / "comfy" / "sd1_tokenizer")
    tensor_file(path / "models" / "checkpoints" / "dream.safetensors", SD1_SHAPES, {"modelspec.license": "openrail++"})
    lora_file(path / "models" / "loras" / "detail.safetensors")
    lora_file(path / "models" / "loras" / "pixel-xl.safetensors", 2048)
    (path / "models" / "loras" / "cut.safetensors").write_bytes(safetensors(b"12345678")[:-1])
    tensor_file(path / "models" / "upscale_models" / "4x.pth", {"a": (1,)})
    return path


def test_an_empty_list_says_where_to_look(meshgen: Cli) -> None:
    assert "models scan" in meshgen("models", "ls").output
    assert json.loads(meshgen("models", "ls", "--json").stdout) == {"models": [], "adapters": []}
    assert "models add PATH" in meshgen("models", "scan").output


def test_a_folder_under_a_name(meshgen: Cli, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "folder")
    assert "weights" in meshgen("models", "add", "My model", str(folder), "--licence", "openrail").output
    assert "My model" in meshgen("models", "ls").output
    shown = meshgen("models", "show", "My model").output
    assert "openrail" in shown and str(folder) in shown and "txt2img" in shown
    assert json.loads(meshgen("models", "show", "My model", "--json").stdout)["default_size"] == 512
    assert "forgotten; the files stay" in meshgen("models", "rm", "My model").output and folder.exists()


def test_an_installation_is_listed_first_and_added_when_asked(meshgen: Cli, comfy: Path, home: Path) -> None:
    listed = meshgen("models", "add", str(comfy)).output
    assert "1 model, 2 LoRAs" in listed.replace("2 LoRAs, 1 model", "1 model, 2 LoRAs") and "--all" in listed
    assert "download may be incomplete" in listed and "upscaler" in listed
    assert not (home / catalog_module.FILE).exists()
    added = meshgen("models", "add", str(comfy), "--only", "*pixel*", "--only", "dream*").output
    assert "2 added" in added and "detail" not in added
    again = meshgen("models", "add", str(comfy), "--all").output
    assert "1 added, 2 there already, 2 not taken" in again
    assert {entry.name for entry in Catalog(home).entries()} == {"dream", "detail", "pixel-xl"}


def test_tables_fit_a_terminal(meshgen: Cli, tmp_path: Path, comfy: Path) -> None:
    long = lora_file(comfy / "models" / "loras" / ("a-name-that-goes-on-" * 3 + ".safetensors"))
    for words in (("add", str(comfy)), ("add", str(comfy), "--all"), ("ls",)):
        lines = [line for line in meshgen("models", *words).output.splitlines() if "not taken" not in line]
        table = lines[: next((number for number, line in enumerate(lines) if line.startswith("models/")), len(lines))]
        assert max(map(len, table)) <= WIDTH, table
    assert long.stem[:64] in meshgen("models", "ls", "--json").stdout
    meshgen("models", "add", "l", str(tmp_path / "ComfyUI/models/loras/detail.safetensors"), "--licence", "x" * 90)
    assert max(map(len, meshgen("models", "ls").output.splitlines())) <= WIDTH


def test_a_cache_and_what_is_cut_in_it(meshgen: Cli, tmp_path: Path) -> None:
    cache = tmp_path / "hf" / "hub"
    snapshot = hub_model(cache, "acme/tiny-sd", model_folder(tmp_path / "content"))
    assert "Hugging Face cache: 1 model" in meshgen("models", "scan").output
    assert "tiny-sd is added" in meshgen("models", "add", str(snapshot.parent.parent)).output
    (snapshot / "unet" / "diffusion_pytorch_model.safetensors").resolve().unlink()
    checked = meshgen("models", "check", code=1).output
    assert "gone" not in meshgen("models", "ls").output
    assert "which is not there" in checked and "0 entries in order, 1 not" in checked


def test_check_says_what_has_changed(meshgen: Cli, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "folder")
    meshgen("models", "add", "m", str(folder))
    assert "1 entry in order" in meshgen("models", "check").output
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(safetensors(b"retrained"))
    assert "m: its files have changed" in meshgen("models", "check").output
    assert json.loads(meshgen("models", "check", "--json").stdout)["states"] == {"m": "ok"}
    folder.rename(tmp_path / "elsewhere")
    assert "gone" in meshgen("models", "ls").output and "is not there now" in meshgen("models", "show", "m").output


def test_a_folder_with_one_file_takes_a_name(meshgen: Cli, tmp_path: Path) -> None:
    lora_file(tmp_path / "download" / "v1.0 final.safetensors")
    assert "detail is added: LoRA" in meshgen("models", "add", "detail", str(tmp_path / "download")).output
    (tmp_path / "nothing").mkdir()
    assert "has no models" in meshgen("models", "add", "detail", str(tmp_path / "nothing"), code=1).output


def test_a_controlnet_is_given_its_type(meshgen: Cli, tmp_path: Path) -> None:
    path = tensor_file(tmp_path / "cn.safetensors", {"control_model.zero_convs.0.0.weight": (1,)})
    assert "--type" in meshgen("models", "add", str(path), code=1).output
    assert "ControlNet" in meshgen("models", "add", str(path), "--type", "depth").output
    assert "ControlNet (depth)" in meshgen("models", "show", "cn").output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("add", "nowhere"), "does not exist"),
        (("add", "folder", "nowhere"), "the name comes first"),
        (("add", "a", "b", "c"), "one at a time"),
        (("add", "a/b", "folder"), "is not a name"),
        (("add", "ComfyUI", "--only", "*nothing*"), "nothing in"),
        (("add", "name", "ComfyUI"), "a name is for one"),
        (("add", "empty"), "has no models"),
        (("add", "ComfyUI/models/loras/cut.safetensors"), "incomplete"),
        (("add", "ComfyUI/models/upscale_models/4x.pth"), "pickle"),
        (("rm", "nothing"), "no model 'nothing'"),
        (("show", "nothing"), "nothing is called 'nothing'"),
    ],
)
@pytest.mark.usefixtures("comfy")
def test_wrong_input_says_what_to_do(meshgen: Cli, tmp_path: Path, words: tuple[str, ...], text: str) -> None:
    model_folder(tmp_path / "folder")
    (tmp_path / "empty").mkdir()
    assert text in meshgen("models", *words, code=1).output


def test_the_same_name_from_elsewhere_needs_another(meshgen: Cli, tmp_path: Path, comfy: Path, home: Path) -> None:
    other = lora_file(tmp_path / "other" / "detail.safetensors", 1024)
    meshgen("models", "add", str(comfy), "--only", "detail")
    assert "give this one a name" in meshgen("models", "add", str(other), code=1).output
    assert "OTHER_NAME" in meshgen("models", "add", str(other.parent), "--all", code=1).output
    meshgen("models", "add", "detail 2", str(other))
    assert {entry.name for entry in Catalog(home).entries()} == {"detail", "detail 2"}


def test_a_name_that_is_taken_stays_with_what_has_it(meshgen: Cli, tmp_path: Path, home: Path) -> None:
    first, other = lora_file(tmp_path / "a.safetensors"), lora_file(tmp_path / "b.safetensors", 1024)
    meshgen("models", "add", "detail", str(first), "--licence", "cc0")
    refused = meshgen("models", "add", "detail", str(other), code=1).output
    assert str(first) in refused and "lora" in refused and "--replace" in refused
    assert "there already, and its files are the same" in meshgen("models", "add", "detail", str(first)).output
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(first.read_bytes())
    assert f"read from {copy} now" in meshgen("models", "add", "detail", str(copy)).output
    assert Catalog(home).find("detail").info.licence == "cc0"
    assert "detail is replaced" in meshgen("models", "add", "detail", str(other), "--replace").output
    assert (Catalog(home).find("detail").path, Catalog(home).find("detail").info.licence) == (other, "")


def test_a_name_that_is_nearly_one_is_guessed(meshgen: Cli, tmp_path: Path) -> None:
    meshgen("models", "add", "watercolour", str(lora_file(tmp_path / "a.safetensors")))
    for verb in ("show", "rm"):
        assert "did you mean 'watercolour'?" in meshgen("models", verb, "watercolor", code=1).output


def test_an_interruption_keeps_what_was_added(home: Path, comfy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog(home)
    whole = Catalog.add

    def interrupted(self: Catalog, name: str, *given: object, **more: object) -> object:
        if name == "pixel-xl":
            raise KeyboardInterrupt
        return whole(self, name, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Catalog, "add", interrupted)
    from meshgen.cli.adding import Wish

    found = [one for one in look_through(comfy) if one.kind == "lora"]
    with pytest.raises(Cancelled, match="1 are added and stay"):
        add_all(catalog, found, Wish())
    assert [entry.name for entry in catalog.entries()] == ["detail"]
    with pytest.raises(Cancelled, match="pixel-xl is not added"):
        add_one(catalog, "pixel-xl", found[-1].path, Wish())


def test_more_adapters_than_an_advert_holds_are_said_to_be(tmp_path: Path, meshgen: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    lora_file(tmp_path / "one.safetensors")
    lora_file(tmp_path / "two.safetensors", 2048)
    for name in ("one", "two"):
        meshgen("models", "add", str(tmp_path / f"{name}.safetensors"))
    assert "told" not in meshgen("models", "ls").output
    monkeypatch.setattr("meshgen.protocols.advert.MAX_ADAPTERS", 1)
    text = meshgen("models", "ls").output
    assert "told of 1 of these 2 adapters" in text and all(len(line) <= WIDTH for line in text.splitlines())
