"""Tokenizers that single files need are found in what is there, if they are as large as the model wants."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from meshgen.engine.diffusion import vocabularies
from meshgen.engine.diffusion.vocabularies import VocabularyError, find_vocabulary, fits, write_clip_tokenizer, write_t5_tokenizer
from tests.engine.folders import SD1_WORDS, clip_vocabulary

SIZE = len(SD1_WORDS)


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr(vocabularies, "_PACKAGES", ())


def t5(folder: Path, words: int = 5) -> Path:
    folder.mkdir(parents=True)
    rows = [[f"w{number}", -1.0] for number in range(words)]
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram", "vocab": rows}, "added_tokens": []}))
    return folder


def test_places_in_their_order(tmp_path: Path) -> None:
    near = tmp_path / "ComfyUI" / "models" / "checkpoints" / "x.safetensors"
    beside = clip_vocabulary(tmp_path / "ComfyUI" / "models" / "some-model" / "tokenizer")
    assert find_vocabulary("clip", SIZE, near) == beside
    comfy = clip_vocabulary(tmp_path / "ComfyUI" / "comfy" / "sd1_tokenizer")
    assert find_vocabulary("clip", SIZE, near) == comfy
    cached = clip_vocabulary(tmp_path / "hf" / "hub" / "models--a--b" / "snapshots" / "1" / "tokenizer")
    assert find_vocabulary("clip", SIZE, near) == cached
    model = tmp_path / "model"
    added = clip_vocabulary(model / "tokenizer")
    assert find_vocabulary("clip", SIZE, near, [model]) == added
    known = clip_vocabulary(tmp_path / "known")
    assert find_vocabulary("clip", SIZE, near, [model], [known]) == known


def test_one_of_another_size_is_passed_over(tmp_path: Path) -> None:
    clip_vocabulary(tmp_path / "model" / "tokenizer", [*SD1_WORDS[:2], *SD1_WORDS])
    with pytest.raises(VocabularyError, match="pip install --no-deps open_clip_torch"):
        find_vocabulary("clip", SIZE, tmp_path / "x.safetensors", [tmp_path / "model"])
    with pytest.raises(VocabularyError, match="T5"):
        find_vocabulary("t5", SIZE, tmp_path / "x.safetensors", [tmp_path / "model"])


def test_t5s_may_be_padded(tmp_path: Path) -> None:
    place = t5(tmp_path / "model" / "tokenizer_2")
    assert fits("t5", place, 5) and fits("t5", place, 100) and not fits("t5", place, 4) and not fits("t5", place, 1000)
    assert find_vocabulary("t5", 8, tmp_path / "x", [tmp_path / "model"]) == place
    write_t5_tokenizer(place, tmp_path / "out", 256)
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["model_max_length"] == 256


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff", b'{"<|endoftext|>": "x"}'])
def test_damaged_ones_do_not_fit(tmp_path: Path, content: bytes) -> None:
    for kind, name in (("clip", "vocab.json"), ("t5", "tokenizer.json")):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / name).write_bytes(content)
        (folder / "merges.txt").write_bytes(content)
        assert not fits(kind, folder, SIZE)
    (tmp_path / "x.gz").write_bytes(content)
    assert not fits("clip", tmp_path / "x.gz", SIZE)


def test_a_list_of_word_parts_makes_a_tokenizer(tmp_path: Path) -> None:
    """Its numbers are those of CLIP: bytes, bytes at a word's end, merges in their order, the two marks."""
    parts = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    with gzip.open(parts, "wt", encoding="utf-8") as opened:
        opened.write('"bpe_simple_vocab_16e6.txt#version: 0.2\n' + "i n\nt h\ncat s</w>")
    assert fits("clip", parts, 512 + 3 + 2)
    write_clip_tokenizer(parts, tmp_path / "out", "!")
    words = json.loads((tmp_path / "out" / "vocab.json").read_text("utf-8"))
    assert [words[word] for word in ("!", "!</w>", "in", "cats</w>", "<|endoftext|>")] == [0, 256, 512, 514, 516]
    assert (tmp_path / "out" / "merges.txt").read_text().splitlines() == ["#version: 0.2", "i n", "t h", "cat s</w>"]
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["pad_token"] == "!"
