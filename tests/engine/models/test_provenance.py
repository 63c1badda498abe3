"""Licences and sources are read from what lies beside a model, whoever wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshgen.engine.models.provenance import MAX_TEXT, Provenance, of_file, of_folder


@pytest.mark.parametrize(
    ("card", "licence", "source"),
    [
        ("---\nlicense: openrail++\n---\n# Model\n", "openrail++", ""),
        ("---\nlanguage: en\nlicense: 'mit'\nbase_model: acme/base\n---\n", "mit", "acme/base"),
        (
            "---\nlicense: other\nlicense_name: flux-1-dev\nlicense_link: https://example.org/l\n---\n",
            "flux-1-dev (https://example.org/l)",
            "",
        ),
        ("---\r\nlicense: mit\r\n---\r\n", "mit", ""),
        ("license: mit\n", "", ""),
        ("---\nlicense: mit\n", "", ""),
        ("", "", ""),
    ],
)
def test_model_cards(tmp_path: Path, card: str, licence: str, source: str) -> None:
    (tmp_path / "README.md").write_bytes(card.encode())
    assert of_folder(tmp_path) == Provenance(licence, source)


def test_a_cache_names_the_repository(tmp_path: Path) -> None:
    assert of_folder(tmp_path / "models--acme--tiny-sd" / "snapshots" / "0a1b").source == "acme/tiny-sd"


@pytest.mark.parametrize(
    ("ending", "content", "expected"),
    [
        (
            ".civitai.info",
            {"modelId": 4384, "name": "8", "model": {"name": "DreamShaper", "allowCommercialUse": ["Image", "Rent"]}},
            Provenance("commercial use: image, rent", "civitai model 4384: DreamShaper 8"),
        ),
        (
            ".civitai.info",
            {"modelId": 1, "model": {"allowCommercialUse": "{}"}},
            Provenance("commercial use: none", "civitai model 1"),
        ),
        (".json", {"description": "nice", "sd version": "SD1"}, Provenance()),
        (".cm-info.json", {"ModelId": 7, "ModelName": "X", "VersionName": "2"}, Provenance("", "civitai model 7: X 2")),
        (".metadata.json", {"civitai": {"modelId": 9, "model": {"name": "Y"}}}, Provenance("", "civitai model 9: Y")),
        (".json", [1, 2], Provenance()),
        (".json", {"model": "text", "modelId": "9", "name": 3}, Provenance()),
    ],
)
def test_sidecars(tmp_path: Path, ending: str, content: Any, expected: Provenance) -> None:
    (tmp_path / f"model.v1{ending}").write_text(json.dumps(content))
    assert of_file(tmp_path / "model.v1.safetensors", {}) == expected


def test_damaged_sidecars_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(b"\xff{")
    (tmp_path / "model.civitai.info").mkdir()
    assert of_file(tmp_path / "model.safetensors", {}) == Provenance()


def test_the_files_own_notes_come_first_and_are_cut_to_a_line(tmp_path: Path) -> None:
    (tmp_path / "x.civitai.info").write_text(json.dumps({"modelId": 1, "license": "cc0"}))
    notes = {"modelspec.title": "X\x1b[31m\n", "modelspec.author": "Y" * 500}
    found = of_file(tmp_path / "x.safetensors", notes)
    assert found.licence == "cc0" and found.source.startswith("X [31m") and len(found.source) <= MAX_TEXT
    assert of_file(tmp_path / "y.safetensors", {"ss_sd_model_name": "v1-5.ckpt"}).source == "trained on v1-5.ckpt"
