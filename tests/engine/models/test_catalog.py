"""The catalog keeps its list over restarts, names weights by what they hold, and tells its owner what is wrong."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from meshgen.engine.models import catalog as catalog_module
from meshgen.engine.models import digests as digests_module
from meshgen.engine.models import judging as judging_module
from meshgen.engine.models.catalog import BUNDLED, FILE, Catalog, CatalogError, name_for
from meshgen.engine.models.model_folder import ModelFolderError
from meshgen.engine.text.packaged import PackagedText
from meshgen.engine.text.text_folder import TextFolder
from tests.engine.folders import SD1_SHAPES, clip_vocabulary, hub_model, lora_file, model_folder, safetensors, tensor_file

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the bundled model would be; there is none unless a test puts one there."""
    path = tmp_path / "bundled"
    monkeypatch.setattr(catalog_module, "model_path", lambda: path)
    monkeypatch.setattr(catalog_module, "text_models", list)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_an_empty_catalog_writes_nothing(home: Path) -> None:
    assert Catalog(home).models() == [] and not home.exists()


def test_what_is_added_is_there_after_a_restart(home: Path, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    added = Catalog(home).add("Deliberate 3.0", folder, licence="openrail")
    [found] = Catalog(home).models()
    assert found == added and found.path == folder and len(found.digest) == 32
    assert found.info.name == "Deliberate 3.0" and found.info.licence == "openrail"
    assert (found.info.default_size, found.info.max_pixels) == (512, 1024 * 1024)


def test_a_digest_names_the_weights_and_not_their_place(home: Path, tmp_path: Path) -> None:
    catalog = Catalog(home)
    one, two = (catalog.add(name, model_folder(tmp_path / name)) for name in ("one", "two"))
    assert one.digest == two.digest
    (two.path / WEIGHTS).write_bytes(safetensors(b"4321"))
    assert catalog.add("two", two.path).digest != one.digest
    (one.path / "preview.png").write_bytes(b"not part of it")
    assert catalog.add("one", one.path).digest == one.digest


def test_files_are_hashed_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path / "model")
    first = Catalog(home).add("model", folder)
    monkeypatch.setattr(digests_module, "_CHUNK", None)  # reading any content would fail
    catalog = Catalog(home)
    assert catalog.check() == {} and catalog.models() == [first]
    assert catalog.add("the same by another name", folder).digest == first.digest


def test_check_finds_what_changed(home: Path, tmp_path: Path) -> None:
    catalog = Catalog(home)
    kept, gone = (catalog.add(name, model_folder(tmp_path / name)) for name in ("kept", "gone"))
    (kept.path / WEIGHTS).write_bytes(safetensors(b"retrained"))
    gone.path.rename(tmp_path / "elsewhere")
    faults = catalog.check()
    assert list(faults) == ["gone"] and "does not exist" in faults["gone"]
    assert {model.name: model.digest != kept.digest for model in Catalog(home).models()} == {"kept": True, "gone": False}


def test_another_process_s_change_is_seen(home: Path, tmp_path: Path) -> None:
    here, there = Catalog(home), Catalog(home)
    here.add("one", model_folder(tmp_path / "one"))
    assert [model.name for model in there.models()] == ["one"]
    version = there.version
    here.add("two", model_folder(tmp_path / "two"))
    here.remove("one")
    assert [model.name for model in there.models()] == ["two"] and there.version > version
    version = there.version
    assert there.models() and there.version == version


def test_the_bundled_model_is_first_and_stays(home: Path, tmp_path: Path, bundled: Path) -> None:
    model_folder(bundled, unet={"sample_size": 8, "cross_attention_dim": 128})
    catalog = Catalog(home)
    catalog.add("another", model_folder(tmp_path / "model"))
    assert [model.name for model in catalog.models()] == [BUNDLED, "another"]
    assert catalog.models()[0].info.default_size == 64 and catalog.check() == {}
    with pytest.raises(CatalogError, match="comes with meshgen"):
        catalog.remove(BUNDLED)
    with pytest.raises(CatalogError, match="choose another"):
        catalog.add(BUNDLED, tmp_path / "model")


@pytest.mark.parametrize("name", ["", " ", "a/b", "../x", "x" * 65, "new\nline", "\x1b[31mred", '"quoted"', " model"])
def test_bad_names_are_refused(home: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogError, match="is not a name"):
        Catalog(home).add(name, model_folder(tmp_path / "model"))
    assert Catalog(home).models() == []


def test_a_bad_folder_changes_nothing(home: Path, tmp_path: Path) -> None:
    catalog = Catalog(home)
    good = catalog.add("model", model_folder(tmp_path / "model"))
    with pytest.raises(CatalogError, match=r"model_index\.json"):
        catalog.add("model", tmp_path)
    assert catalog.models() == Catalog(home).models() == [good]
    with pytest.raises(CatalogError, match=r"did you mean .model."):
        catalog.remove("modle")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"models": 1}', '{"models": [{"name": "x"}]}', '{"models": ["x"]}'])
def test_a_damaged_list_is_named_and_left_alone(home: Path, content: str) -> None:
    home.mkdir()
    (home / FILE).write_text(content)
    with pytest.raises(CatalogError, match=FILE):
        Catalog(home).models()
    assert (home / FILE).read_text() == content


def test_the_list_is_plain_json(home: Path, tmp_path: Path) -> None:
    Catalog(home).add("model", model_folder(tmp_path / "model"))
    [row] = json.loads((home / FILE).read_text())["models"]
    assert row["name"] == "model" and WEIGHTS in row["files"]


def test_lists_of_older_versions_are_read(home: Path, tmp_path: Path) -> None:
    catalog = Catalog(home)
    added = catalog.add("model", model_folder(tmp_path / "model"))
    [row] = json.loads((home / FILE).read_text())["models"]
    for name in ("format", "source", "millions", "context", "vocabularies"):
        del row[name]
    (home / FILE).write_text(json.dumps({"models": [row]}))
    assert Catalog(home).models() == [added] and Catalog(home).adapters() == []


def checkpoint(path: Path) -> Path:
    clip_vocabulary(path / "comfy" / "sd1_tokenizer")
    return tensor_file(path / "models" / "checkpoints" / "model.safetensors", SD1_SHAPES)


def test_a_checkpoint_in_one_file(home: Path, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "ComfyUI")
    added = Catalog(home).add("model", path)
    [found] = Catalog(home).models()
    assert found == added and (found.format, found.info.family, found.path) == ("single_file", "sd1", path)
    assert found.digest == hashlib.sha256(path.read_bytes()).digest()
    assert found.frame()["vocabularies"] == {"clip": str(tmp_path / "ComfyUI" / "comfy" / "sd1_tokenizer")}
    copy = tmp_path / "elsewhere" / "another name.safetensors"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    assert Catalog(home).add("copy", copy).digest == found.digest


def test_a_checkpoint_without_its_tokenizer_is_not_added(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-cache"))
    with pytest.raises(CatalogError, match="needs the tokenizer of CLIP"):
        Catalog(home).add("model", tensor_file(tmp_path / "x.safetensors", SD1_SHAPES))
    clip_vocabulary(model_folder(tmp_path / "folder") / "tokenizer")
    Catalog(home).add("folder", tmp_path / "folder")
    assert Catalog(home).add("model", tmp_path / "x.safetensors").kind == "model"


def test_adapters_stand_beside_models(home: Path, tmp_path: Path) -> None:
    catalog = Catalog(home)
    lora = catalog.add("detail", lora_file(tmp_path / "x.safetensors"), licence="cc0", source="me")
    shapes = {"control_model.zero_convs.0.0.weight": (1,)}
    control = catalog.add("my control", tensor_file(tmp_path / "y.safetensors", shapes), control="canny")
    assert Catalog(home).adapters() == [lora, control] and Catalog(home).models() == []
    assert (lora.info.kind, lora.info.name, lora.info.family, lora.info.licence, lora.info.source) == (
        "lora",
        "detail",
        "sd1",
        "cc0",
        "me",
    )
    assert (control.name, control.info.name, control.info.kind) == ("my control", "canny", "controlnet")
    assert catalog.check() == {} and catalog.find("my control") == control
    lora.path.unlink()
    assert list(catalog.check()) == ["detail"] and catalog.adapters() == [control]
    catalog.remove("detail")
    assert Catalog(home).entries() == [control]


def test_a_cached_model_keeps_its_snapshot_and_its_digest(home: Path, tmp_path: Path) -> None:
    plain = Catalog(home).add("plain", model_folder(tmp_path / "content"))
    snapshot = hub_model(tmp_path / "hub", "acme/tiny-sd", tmp_path / "content")
    cached = Catalog(home).add("cached", snapshot.parent.parent)
    assert cached.path == snapshot and cached.digest == plain.digest and cached.info.source == "acme/tiny-sd"


def test_progress_is_told_in_bytes_and_nothing_is_kept_of_what_is_broken_off(home: Path, tmp_path: Path) -> None:
    path = tensor_file(tmp_path / "x.safetensors", {"a.lora_down.weight": (3, 1 << 20)})
    told: list[tuple[int, int]] = []
    Catalog(home).add("x", path, tell=lambda done, total: told.append((done, total)))
    size = path.stat().st_size
    assert told[-1] == (size, size) and len(told) == 4 and told == sorted(told)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    other = tensor_file(tmp_path / "y.safetensors", {"a.lora_down.weight": (3, 1 << 20)})
    with pytest.raises(KeyboardInterrupt):
        Catalog(home).add("y", other, tell=interrupt)
    assert [entry.name for entry in Catalog(home).entries()] == ["x"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("dreamshaper_8.safetensors", "dreamshaper_8"),
        ("__weird__ (v1).safetensors", "weird__ (v1)"),
        ("modèle.safetensors", "mod-le"),
        ("$$$.safetensors", "model"),
        ("my model", "my model"),
        ("x" * 100 + ".safetensors", "x" * 64),
        ("models--acme--tiny-sd/snapshots/0a1b", "tiny-sd"),
        ("models--acme--tiny-sd", "tiny-sd"),
        ("models--acme--xl-lora/snapshots/0a1b/pytorch_lora_weights.safetensors", "xl-lora"),
        ("my lora/pytorch_lora_weights.safetensors", "my lora"),
    ],
)
def test_names_are_made_from_files(tmp_path: Path, file: str, name: str) -> None:
    assert name_for(tmp_path / file) == name
    Catalog(tmp_path / "home").add(name, model_folder(tmp_path / "folder"))


def test_a_damaged_package_takes_no_other_model_with_it(home: Path, bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> list[PackagedText]:
        raise ModelFolderError("it is cut")

    model_folder(bundled)
    monkeypatch.setattr(catalog_module, "text_models", damaged)
    assert [model.name for model in Catalog(home).models()] == [BUNDLED]


def test_text_models_that_come_along_are_listed_second(
    home: Path, tmp_path: Path, bundled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_folder(bundled)
    folder = TextFolder(tmp_path / "x.gguf", "gguf", "llama", 135, 8192, "apache-2.0", ("x.gguf",))
    (tmp_path / "x.gguf").write_bytes(b"weights")
    monkeypatch.setattr(catalog_module, "text_models", lambda: [PackagedText("small", folder, "a package")])
    monkeypatch.setattr(judging_module, "read_text_folder", lambda *_: folder)
    text = Catalog(home).models()[1]
    assert (text.name, text.info.family, text.format, text.info.millions, text.info.context) == (
        "small",
        "text",
        "gguf",
        135,
        8192,
    )
    assert text.info.source == "a package" and text.digest == hashlib.sha256(b"weights").digest()
