"""Settings that a running node reads again and writes: into the file that people edit, whose comments stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshgen.settings import LIVE, Settings, SettingsError, Source, dotted, following
from meshgen.settings.example import example


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(example())
    return file


def test_changes_land_in_the_file_and_its_comments_stay(file: Path) -> None:
    before = file.read_text().splitlines()
    settings = Source(file).write({"worker.max_steps": 50, "worker.declines": ["nsfw"], "requester.private": True})
    assert (settings.worker.max_steps, settings.worker.declines, settings.requester.private) == (50, ("nsfw",), True)
    assert Source(file).load() == settings
    after = file.read_text().splitlines()
    assert len(set(before) - set(after)) == 3 and [line for line in before if "#" in line] == [
        line for line in after if "#" in line
    ]


def test_a_file_is_made_where_there_was_none(tmp_path: Path) -> None:
    source = Source(tmp_path / "config.yaml")
    assert source.load() == Settings()
    source.write({"worker.max_steps": 50})
    assert source.load().worker.max_steps == 50


@pytest.mark.parametrize("changes", [{"worker.max_steps": 0}, {"worker.max_steps": "many"}, {"worker.hours": ["never"]}])
def test_all_or_none(file: Path, changes: dict[str, object]) -> None:
    before = file.read_text()
    with pytest.raises(SettingsError, match=str(file)):
        Source(file).write({"requester.private": True} | changes)
    assert file.read_text() == before and list(file.parent.iterdir()) == [file]


def test_a_file_of_another_layout_is_left_as_it_is(file: Path) -> None:
    file.write_text("{worker: {max_steps: 20}}\n")
    with pytest.raises(SettingsError):
        Source(file).write({"worker.max_steps": 50})
    assert file.read_text() == "{worker: {max_steps: 20}}\n"


def test_what_overrules_the_file_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHGEN_WORKER__MAX_STEPS", "7")
    source = Source(file, changes={"worker.max_count": "2"})
    settings = source.write({"worker.max_steps": 50})
    assert settings.worker.max_steps == 7 and settings.worker.max_count == 2
    found = {key: source.decided(key) for key in ("worker.max_steps", "worker.max_count", "worker.slots")}
    assert found == {"worker.max_steps": "environment", "worker.max_count": "command line", "worker.slots": ""}


def test_every_live_key_is_a_setting() -> None:
    assert set(dotted(Settings())) > LIVE


def test_a_running_node_follows_what_it_can(file: Path) -> None:
    running = Source(file, changes={"node.roles": "worker", "worker.slots": "2"}).load()
    changed = Settings.model_validate({"node": {"roles": ["hub"]}, "worker": {"max_steps": 50, "slots": 9}})
    found = following(running, changed)
    assert (found.node.roles, found.worker.slots, found.worker.max_steps) == (("worker",), 2, 50)
    assert "max_steps" in found.worker.model_fields_set and "max_pixels" not in found.worker.model_fields_set
