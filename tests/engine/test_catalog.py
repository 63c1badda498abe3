"""The catalog keeps its list over restarts, names weights by what they hold, and tells its owner what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshgen.engine import catalog as catalog_module
from meshgen.engine import digests as digests_module
from meshgen.engine.catalog import BUNDLED, FILE, Catalog, CatalogError
from tests.engine.folders import model_folder, safetensors

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
    with pytest.raises(CatalogError, match="there is model"):
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
