"""Folders and GGUF files of text models, good and bad, judged by their headers."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshgen.engine.models.model_folder import ModelFolderError
from meshgen.engine.text.packaged import text_models
from meshgen.engine.text.text_folder import looks_like_text, read_text_folder
from tests.engine.text.tiny_models import causal_folder, gguf, safetensors

SEED = 7


def test_a_folder_is_what_its_files_say(tmp_path: Path) -> None:
    folder = causal_folder(tmp_path / "model")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "notes.txt").write_text("not loaded")
    found = read_text_folder(folder)
    assert (found.format, found.architecture, found.millions, found.context) == ("causal_lm", "LlamaForCausalLM", 3, 128)
    assert found.files == ("config.json", "model.safetensors", "tokenizer.json")
    assert found.licence == "apache-2.0" and found.root == folder
    assert looks_like_text(folder)


def test_shards_are_found_by_their_index(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "model")
    found = read_text_folder(folder)
    assert found.files == ("config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                           "model.safetensors.index.json", "tokenizer.json")  # fmt: skip
    assert found.millions == 2
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"00002-of-00002\.safetensors is missing.*incomplete"):
        read_text_folder(folder)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(ModelFolderError, match=r"in parts but no model\.safetensors\.index\.json"):
        read_text_folder(folder)


def test_pickles_need_the_owners_word(tmp_path: Path) -> None:
    folder = causal_folder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(bytes(4_000_000))
    with pytest.raises(ModelFolderError, match=r"pickle.*get \.safetensors, or allow pickle"):
        read_text_folder(folder)
    found = read_text_folder(folder, allow_pickle=True)
    assert "pytorch_model.bin" in found.files and found.millions == 2


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"architectures": ["T5ForConditionalGeneration"]}, "names no causal language model"),
    ({"architectures": []}, "names no causal language model"),
    ({"architectures": "LlamaForCausalLM"}, "names no causal language model"),
    ({"architectures": ["../LlamaForCausalLM"]}, "names no causal language model"),
    ({"auto_map": {"AutoModelForCausalLM": "modeling.Model"}}, "brings its own code, which is never run"),
    ({"is_encoder_decoder": True}, "encoder and a decoder"),
    ({"quantization_config": {"quant_method": "gptq"}}, "plain safetensors, or a GGUF file"),
]


@pytest.mark.parametrize(("config", "message"), CONFIGS)
def test_configs_of_other_models_are_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFolderError, match=message):
        read_text_folder(causal_folder(tmp_path / "model", config))


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    (lambda folder: (folder / "config.json").write_text("{"), "config.json is not JSON"),
    (lambda folder: (folder / "config.json").write_text("[" * 100_000), "config.json is not JSON"),
    (lambda folder: (folder / "config.json").write_text("[]"), "config.json is not a JSON object"),
    (lambda folder: (folder / "config.json").write_text(" " * 5_000_000), "larger than"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer"),
    (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"version https://git-lfs"), "git lfs pull"),
    (lambda folder: (folder / "model.safetensors").write_bytes(safetensors({"a": (1,)})[:-1]), "may be incomplete"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"none"), "is not a safetensors file"),
    (lambda folder: (folder / "modeling.py").write_text("print(1)"), "brings its own code"),
    (lambda folder: (folder / "tokenizer_config.json").write_text('{"auto_map": {}}'), "brings its own code"),
    (lambda folder: (folder / "adapter_config.json").write_text("{}"), "merge it into its model"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_bad_folders_are_named_with_what_mends_them(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    folder = causal_folder(tmp_path / "model")
    spoil(folder)
    with pytest.raises(ModelFolderError, match=message):
        read_text_folder(folder)


def test_an_index_names_nothing_outside(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}')
    with pytest.raises(ModelFolderError, match="names no weights"):
        read_text_folder(folder)


def test_neither_folder_nor_gguf(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("hello")
    with pytest.raises(ModelFolderError, match=r"that is a \.gguf file or a folder"):
        read_text_folder(tmp_path / "model.txt")
    with pytest.raises(ModelFolderError, match="does not exist"):
        read_text_folder(tmp_path / "nowhere")
    assert not looks_like_text(tmp_path / "model.txt") and not looks_like_text(tmp_path)


def test_a_gguf_file_is_what_its_header_says(tmp_path: Path) -> None:
    file = tmp_path / "small.Q4_0.gguf"
    file.write_bytes(gguf(tensors=600))
    found = read_text_folder(file)
    assert (found.format, found.architecture, found.millions, found.context) == ("gguf", "llama", 2, 512)
    assert (found.licence, found.quantization, found.files) == ("mit", "Q4_0", ("small.Q4_0.gguf",))
    assert found.root == tmp_path and looks_like_text(file)


GGUFS: list[tuple[bytes, str]] = [
    (b"", "is not a GGUF file"),
    (b"none" * 10, "is not a GGUF file"),
    (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    (gguf(version=1), "is GGUF version 1; 2 and 3 can be read"),
    (gguf(tensors=0), "holds no model"),
    (gguf(kind=99), "unknown type 99; take another quantization"),
    (gguf()[:-40], "may be incomplete"),
    (gguf()[:200], "damaged or cut"),
    (gguf({"general.architecture": "flux"}), "holds 'flux'; of GGUF files, these can be run: llama"),
    (gguf({"general.type": "adapter"}), "a part of a model"),
    (gguf({"split.count": 3}), "llama-gguf-split --merge"),
    (gguf({"tokenizer.ggml.model": ""}), "has no tokenizer"),
    (gguf({"general.alignment": 0}), "alignment"),
    (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 1), "holds no model"),
    (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 2**63) + bytes(64), "damaged or cut"),
]


@pytest.mark.parametrize(("content", "message"), GGUFS)
def test_bad_gguf_files_are_named_with_what_mends_them(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelFolderError, match=message):
        read_text_folder(file)


def test_damaged_gguf_files_raise_nothing_else(tmp_path: Path) -> None:
    chance, whole, file = random.Random(SEED), gguf(), tmp_path / "model.gguf"
    for turn in range(400):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(420)] = chance.choice((0, 1, 9, 127, 255, chance.randrange(256)))
        file.write_bytes(content[: chance.choice((len(content), chance.randrange(len(content))))])
        try:
            read_text_folder(file)
        except ModelFolderError:
            pass
        except Exception as error:
            raise AssertionError(f"seed {SEED}, turn {turn}") from error


def test_what_a_package_carries_needs_no_torch() -> None:
    code = "import sys; from meshgen.engine.text.packaged import text_models; text_models(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    for found in text_models():
        assert (found.name, found.folder.millions, found.folder.context) == ("SmolLM2-135M-Instruct", 135, 8192)
        assert found.folder.licence == "apache-2.0"


def sharded(path: Path) -> Path:
    folder = causal_folder(path)
    (folder / "model.safetensors").unlink()
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name in names:
        (folder / name).write_bytes(safetensors({name: (1000, 1000)}))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {name: name for name in names}}))
    return folder
