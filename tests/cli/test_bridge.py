"""An AI Horde worker's bridgeData.yaml, taken over."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import example, given
from hypothesis import strategies as st

from meshgen.cli.bridge import _READERS, Line, settings_of_lines, translate
from meshgen.cli.bridge_words import DECIDE, NONE, SECRET
from meshgen.settings import Settings, load_settings
from meshgen.settings.text import with_settings

Cli = Callable[..., Result]
KEY = "aihorde-key-that-nobody-may-see"
TEMPLATE_KEYS = re.findall(
    r"\w+",
    "horde_url api_key priority_usernames max_threads queue_size max_batch safety_on_gpu require_upfront_kudos "
    "civitai_api_token dreamer_name max_power high_memory_mode high_performance_mode moderate_performance_mode "
    "post_process_job_overlap unload_models_from_vram_often very_fast_disk_mode blacklist nsfw censor_nsfw "
    "censorlist allow_img2img allow_painting allow_unsafe_ip allow_post_processing allow_controlnet "
    "allow_sdxl_controlnet allow_lora purge_loras_on_download max_lora_cache_size extra_slow_worker "
    "limit_max_steps dynamic_models number_of_dynamic_models max_models_to_download stats_output_frequency "
    "cache_home temp_dir always_download disable_terminal_ui vram_to_leave_free ram_to_leave_free "
    "disable_disk_cache models_to_load load_large_models models_to_skip suppress_speed_warnings "
    "exit_on_unhandled_faults scribe_name kai_url max_length max_context_length branded_model alchemist_name "
    "forms worker_name custom_models",
)
WORKER = f"""
horde_url: "https://example.org/api/"
api_key: "{KEY}"
civitai_api_token: {KEY}
priority_usernames: ["bob#12"]
dreamer_name: "Attic GPU"
max_power: 32
max_threads: 1
queue_size: 1
max_batch: 4
nsfw: false
censor_nsfw: true
blacklist: ["clown", "red nose", "***"]
allow_img2img: true
allow_painting: false
allow_controlnet: false
allow_lora: true
require_upfront_kudos: true
limit_max_steps: false
models_to_load:
  - "top 2"
  - Deliberate
  - ALL SFW MODELS
models_to_skip:
  - ALL SDXL MODELS
forms: [caption, nsfw, post-process]
vram_to_leave_free: "80%"
cache_home: "./models/"
max_length: 80
tea_time: 4
"""


def fates(**values: Any) -> dict[str, str]:
    return {line.key: line.fate for line in translate(values)}


def taken(**values: Any) -> dict[str, Any]:
    return settings_of_lines(translate(values))


@pytest.fixture
def bridge(tmp_path: Path) -> Path:
    file = tmp_path / "bridgeData.yaml"
    file.write_text(WORKER)
    return file


# -- key by key


def test_every_key_of_the_template_is_known() -> None:
    known = {*SECRET, *DECIDE, *NONE, *_READERS}
    assert [key for key in TEMPLATE_KEYS if key not in known] == []
    assert not set(DECIDE) & set(NONE) and not set(_READERS) & {*DECIDE, *NONE}


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        ({"max_power": 8}, {"worker.max_pixels": 512 * 512}),
        ({"max_power": "32"}, {"worker.max_pixels": 1024 * 1024}),
        ({"max_threads": 2, "max_batch": 4}, {"worker.slots": 2, "worker.max_batch": 4}),
        ({"nsfw": True, "allow_lora": True}, {}),
        ({"nsfw": False, "allow_lora": "false"}, {"worker.declines": ["nsfw", "lora"]}),
        ({"allow_img2img": False, "allow_painting": False}, {"worker.declines": ["img2img", "inpainting"]}),
        ({"dreamer_name": "An Awesome Dreamer"}, {}),
        ({"worker_name": "Attic"}, {"node.alias": "Attic"}),
        ({"worker_name": "Attic", "dreamer_name": "Cellar"}, {"node.alias": "Cellar"}),
        ({"dreamer_name": "Jürgens Keller"}, {}),
        ({"blacklist": "clown, red nose"}, {"worker.refuse_words": ["clown", "red nose"]}),
        ({"blacklist": []}, {}),
        ({"models_to_load": ["TOP 3", "ALL SDXL MODELS"]}, {"worker.models": ["TOP 3", "ALL SDXL MODELS"]}),
        ({"models_to_load": ["ALL NSFW MODELS"]}, {}),
        (
            {"models_to_load": ["Deliberate"], "dynamic_models": True, "number_of_dynamic_models": 3},
            {"worker.models": ["Deliberate", "TOP 3"]},
        ),
        ({"forms": []}, {"worker.declines": ["alchemy"]}),
        ({"vram_to_leave_free": "2048"}, {"worker.vram_free_mib": 2048}),
        ({"vram_to_leave_free": "80%"}, {}),
        ({"max_power": 0}, {}),
        ({"max_power": "much"}, {}),
        ({"max_power": True}, {}),
        ({"nsfw": "maybe"}, {}),
        ({"blacklist": {"a": 1}}, {}),
        ({"models_to_load": 7}, {}),
    ],
)
def test_values(values: dict[str, Any], settings: dict[str, Any]) -> None:
    found = taken(**values)
    assert found == settings
    load_settings(overrides=found)  # it is possible here


def test_what_can_not_be_taken_is_for_the_owner_to_decide() -> None:
    found = fates(max_power="much", nsfw="maybe", priority_usernames=["bob"], censor_nsfw=True, models_to_load=["ALL SFW MODELS"])
    assert set(found.values()) == {"decide"}
    assert set(fates(priority_usernames=[], censor_nsfw=False, cache_home="", censorlist=None).values()) == {"none"}


def test_own_models_become_commands() -> None:
    lines = translate(
        {"custom_models": [{"name": "Mine", "baseline": "stable_diffusion_xl", "filepath": "/m/mine.safetensors"}, "x"]}
    )
    assert lines == [Line("custom_models", "decide", "run: meshgen models add 'Mine' '/m/mine.safetensors'")]


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.sampled_from(["top 3", "80%", "true"])
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


@given(st.dictionaries(st.sampled_from(TEMPLATE_KEYS), ANYTHING, max_size=12))
@example({key: float("inf") for key in TEMPLATE_KEYS})
def test_whatever_a_file_says_what_is_taken_is_possible_here(values: dict[str, Any]) -> None:
    lines = translate(values)
    assert {line.key for line in lines} == set(values)
    load_settings(overrides=settings_of_lines(lines))


# -- the file


def test_the_table_shows_all_and_no_key(meshgen: Cli, bridge: Path) -> None:
    text = meshgen("worker", "import", str(bridge), stdin="").output
    assert KEY not in text and "nothing was written" in text
    for words in ("Taken over", "worker.max_pixels: 1048576", "Needs your decision", "No counterpart here", "AIWORKER_*"):
        assert words in text
    assert "no family 'SFW'" in text and "name friends by peer id" in text and "tea_time" in text


def test_json_writes_nothing_unless_told(meshgen: Cli, bridge: Path, home: Path) -> None:
    meshgen("init")
    before = (home / "config.yaml").read_text()
    found = json.loads(meshgen("worker", "import", str(bridge), "--json").stdout)
    assert found["written"] == {} and (home / "config.yaml").read_text() == before
    assert found["settings"] == {
        "node.alias": "Attic GPU",
        "worker.max_pixels": 1024 * 1024,
        "worker.slots": 1,
        "worker.max_batch": 4,
        "worker.declines": ["nsfw", "inpainting", "controlnet"],
        "worker.refuse_words": ["clown", "red nose"],
        "worker.models": ["top 2", "Deliberate"],
        "worker.models_to_skip": ["ALL SDXL MODELS"],
        "worker.forms": ["caption", "nsfw", "post-process"],
        "worker.max_tokens": 80,
    }


def test_it_is_written_into_the_config_and_comments_stay(meshgen: Cli, bridge: Path, home: Path) -> None:
    meshgen("init", "--profile", "gpu-server")
    before = (home / "config.yaml").read_text()
    assert "10 settings written" in meshgen("worker", "import", str(bridge), stdin="y\n").output
    settings = load_settings(home / "config.yaml")
    assert (settings.worker.max_pixels, settings.node.alias, settings.worker.max_queue) == (1024 * 1024, "Attic GPU", 128)
    after = (home / "config.yaml").read_text()
    assert len(after.splitlines()) == len(before.splitlines())  # each where it was commented out
    assert (home / "config.yaml.before-import").read_text() == before
    assert "your config says all of it already" in meshgen("worker", "import", str(bridge), "--yes").output


def test_what_the_owner_said_stays_unless_replaced(meshgen: Cli, bridge: Path, home: Path) -> None:
    home.mkdir()
    config = home / "config.yaml"
    config.write_text("# mine\nworker:\n  max_pixels: 4096  # tiny\n  models:\n    - a\n    # odd\n    - b\n  slots: 2\n")
    text = meshgen("worker", "import", str(bridge), "--yes").output
    assert "Yours stays" in text
    worker = load_settings(config).worker
    assert (worker.max_pixels, worker.models, worker.slots, worker.max_batch) == (4096, ("a", "b"), 2, 4)
    meshgen("worker", "import", str(bridge), "--yes", "--replace")
    worker = load_settings(config).worker
    assert (worker.max_pixels, worker.models, worker.slots) == (1024 * 1024, ("top 2", "Deliberate"), 1)
    assert config.read_text().startswith("# mine\n")


def test_without_a_config_it_says_how_to_make_one(meshgen: Cli, bridge: Path) -> None:
    assert "meshgen init --profile gpu-server" in meshgen("worker", "import", str(bridge), "--yes", code=4).stderr


def test_a_config_in_another_layout_is_left_alone(meshgen: Cli, bridge: Path, home: Path) -> None:
    home.mkdir()
    (home / "config.yaml").write_text("{worker: {slots: 3}}\n")
    assert meshgen("worker", "import", str(bridge), "--yes", code=4).stderr
    assert (home / "config.yaml").read_text() == "{worker: {slots: 3}}\n" and len(list(home.iterdir())) == 1


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"max_power: [", "line 1: is not valid YAML"),
        (b"- a", "holds no settings such as"),
        (b"", "holds no settings such as"),
        (b"\xff\xfe", "is not valid YAML"),
        (b"a: 2001-13-45", "is not valid YAML"),
        (b"[" * 1200, "is not valid YAML"),
        (b"# " + b"x" * (1024 * 1024), "is larger than"),
        (b"import os\nclass BridgeData:\n  pass", "is not valid YAML"),
    ],
)
def test_files_that_are_none(meshgen: Cli, tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "b.yaml").write_bytes(data)
    assert says in meshgen("worker", "import", "b.yaml", code=1).stderr


# -- the config's text


def test_settings_go_where_they_belong() -> None:
    text = "# top\nnode:\n    # alias: ''\nworker:\n\n  # about slots\n  slots: 1  # one\napi:\n  port: 1\n"
    found = with_settings(
        text, {"worker.slots": 2, "node.alias": "a: b", "worker.hours": ["sat"], "limits.open_jobs": 3, "api.port": 2}
    )
    assert found.splitlines() == [
        *("# top", "node:", '    alias: "a: b"', "worker:", '  hours: ["sat"]', "", "  # about slots", "  slots: 2"),
        *("api:", "  port: 2", "", "limits:", "  open_jobs: 3"),
    ]


def test_every_setting_of_the_example_can_be_written(tmp_path: Path) -> None:
    from meshgen.settings.example import example

    changes = {"worker.models": ["x"], "worker.max_pixels": 4096, "node.alias": "n", "limits.kept_mib": 7, "mesh.mdns": True}
    for text in (example(), example(Settings(), ())):
        (tmp_path / "c.yaml").write_text(with_settings(text, changes))
        assert load_settings(tmp_path / "c.yaml") == load_settings(overrides=changes)


def test_no_dynamic_model_is_none() -> None:
    given = {"models_to_load": ["Deliberate"], "dynamic_models": True}
    assert taken(**given, number_of_dynamic_models=0)["worker.models"] == ["Deliberate"]
    assert taken(**given)["worker.models"] == ["Deliberate", "TOP 1"]


def test_what_is_no_number_is_said_in_words() -> None:
    (line,) = translate({"max_power": "lots"})
    assert (line.fate, line.settings) == ("decide", {}) and "a whole number is expected, not 'lots'" in line.text
