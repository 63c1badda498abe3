"""An AI Horde worker's bridgeData.yaml in this node's words: what is taken over, what has to be decided, what has no counterpart.

Both forms are known, reGen's and the one before it. Keys for an API are neither read nor shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from meshgen.cli.bridge_words import DECIDE, NONE, SECRET

PIXELS_PER_POWER = 64 * 64 * 8
MAX_NAMES = 64
MAX_CHARS = 64
Values = Mapping[str, Any]
Fate = Literal["taken", "decide", "none"]


@dataclass(frozen=True, slots=True)
class Line:
    """One key and what became of it. ``settings`` maps dotted keys to values, of what is taken."""

    key: str
    fate: Fate
    text: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def translate(values: Values) -> list[Line]:
    """A line a key at least, in the file's order."""
    return [line for key, value in values.items() for line in _lines(str(key)[:64], value, values)]


def settings_of_lines(lines: list[Line]) -> dict[str, Any]:
    """Of all that is taken; what several keys decline is one list."""
    found: dict[str, Any] = {}
    for line in lines:
        for key, value in line.settings.items():
            before = found.get(key)
            found[key] = [*before, *(item for item in value if item not in before)] if isinstance(before, list) else value
    return found


def _lines(key: str, value: Any, values: Values) -> list[Line]:
    if key in SECRET:
        return [Line(key, "none", SECRET[key])]
    if key in _READERS:
        try:
            return _READERS[key](key, value, values)
        except (ValueError, TypeError) as error:
            return [Line(key, "decide", f"its value can't be taken over: {error}")]
    if key in DECIDE:
        return [Line(key, "decide", DECIDE[key]) if _is_set(value) else Line(key, "none", "empty or off there")]
    return [Line(key, "none", NONE.get(key, "no key of AI Horde's workers that is known here"))]


# -- values, which may come from an environment variable as text


def _is_set(value: Any) -> bool:
    return _flag(value) if str(value).lower() in ("true", "false") else value not in (None, "", 0, [], {})


def _flag(value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError("true or false is expected")
    return str(value).lower() == "true"


def _number(value: Any, least: int, most: int) -> int:
    try:
        number = int(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"a whole number is expected, not {str(value)[:20]!r}") from None
    if isinstance(value, bool) or not least <= number <= most:
        raise ValueError(f"{least} to {most} is possible here")
    return number


def _words(value: Any) -> list[str]:
    """A list, or one text with commas."""
    items = value.split(",") if isinstance(value, str) else value or []
    if not isinstance(items, list) or any(isinstance(item, list | dict) for item in items):
        raise TypeError("a list of names is expected")
    words = [word for item in items if (word := str(item).strip())]
    if bad := next((word for word in words if len(word) > MAX_CHARS or not word.isprintable()), ""):
        raise ValueError(f"{bad[:20]!r}... is no line of at most {MAX_CHARS} characters")
    return words


# -- readers of single keys


def _taken(key: str, setting: str, value: Any, text: str = "") -> Line:
    return Line(key, "taken", text, {setting: value})


def _as_number(setting: str, least: int, most: int, factor: int = 1, text: str = "") -> Callable[[str, Any, Values], list[Line]]:
    def read(key: str, value: Any, values: Values) -> list[Line]:  # noqa: ARG001
        return [_taken(key, setting, factor * _number(value, least, most), text)]

    return read


def _declining(word: str) -> Callable[[str, Any, Values], list[Line]]:
    def read(key: str, value: Any, values: Values) -> list[Line]:  # noqa: ARG001
        if _flag(value):
            return [Line(key, "taken", "allowed here unless declined")]
        return [_taken(key, "worker.declines", [word])]

    return read


def _img2img(key: str, value: Any, values: Values) -> list[Line]:  # noqa: ARG001
    """There, without img2img is without inpainting too."""
    if _flag(value):
        return [Line(key, "taken", "allowed here unless declined")]
    return [_taken(key, "worker.declines", ["img2img", "inpainting"])]


def _alias(key: str, value: Any, values: Values) -> list[Line]:
    """The picture worker's name, else the general one; the template's own names say nothing."""
    name = str(value or "")
    if key == "worker_name" and values.get("dreamer_name"):
        return [Line(key, "none", "dreamer_name is the name that counts")]
    if not name or name.startswith("An Awesome"):
        return [Line(key, "none", "the template's own name")]
    if len(name) > 32 or not name.isascii() or not name.isprintable():
        raise ValueError("an alias has at most 32 plain letters, digits and signs; choose one: node.alias")
    return [_taken(key, "node.alias", name, "proves nothing here: others know this node by its peer id")]


def _models(setting: str) -> Callable[[str, Any, Values], list[Line]]:
    def read(key: str, value: Any, values: Values) -> list[Line]:
        return _named_models(setting, key, _words(value) + (_dynamic(values) if setting == "worker.models" else []))

    return read


def _dynamic(values: Values) -> list[str]:
    if not _flag(values.get("dynamic_models", False)):
        return []
    number = values.get("number_of_dynamic_models")
    wanted = 1 if number is None else _number(number, 0, 999)
    return [f"TOP {wanted}"] if wanted else []


def _named_models(setting: str, key: str, words: list[str]) -> list[Line]:
    from meshgen.peers.selection import selector_fault

    faults = {word: selector_fault(word) for word in words}
    good = [word for word in words if not faults[word]][:MAX_NAMES]
    lines = [Line(key, "decide", f"{fault}; name models instead") for fault in faults.values() if fault]
    text = "names are those of `meshgen models ls`; nothing is downloaded"
    return ([_taken(key, setting, good, text)] if good else []) + lines or [Line(key, "none", "empty there")]


def _blacklist(key: str, value: Any, values: Values) -> list[Line]:  # noqa: ARG001
    fit = [word for word in _words(value) if any(map(str.isalnum, word))][:1024]
    if not fit:
        return [Line(key, "none", "empty there")]
    return [_taken(key, "worker.refuse_words", fit, "whole words count here, not parts of them")]


def _vram(key: str, value: Any, values: Values) -> list[Line]:  # noqa: ARG001
    if str(value).endswith("%"):
        return [Line(key, "decide", "a share there, MiB here: worker.vram_free_mib")]
    return [_taken(key, "worker.vram_free_mib", _number(value, 0, 2**20))]


def _forms(key: str, value: Any, values: Values) -> list[Line]:  # noqa: ARG001
    forms = _words(value)[:MAX_NAMES]
    return [_taken(key, "worker.forms", forms)] if forms else [_taken(key, "worker.declines", ["alchemy"])]


def _custom_models(key: str, value: Any, values: Values) -> list[Line]:  # noqa: ARG001
    named = [item for item in value or [] if isinstance(item, dict) and item.get("name") and item.get("filepath")]
    text = "run: meshgen models add {name!r} {filepath!r}"
    return [Line(key, "decide", text.format_map(item)) for item in named[:MAX_NAMES]] or [Line(key, "none", "empty there")]


_READERS: dict[str, Callable[[str, Any, Values], list[Line]]] = {
    "dreamer_name": _alias,
    "worker_name": _alias,
    "dreamer_worker_name": _alias,
    "max_power": _as_number("worker.max_pixels", 1, 2048, PIXELS_PER_POWER, "64 x 64 x 8 pixels for each"),
    "max_threads": _as_number("worker.slots", 1, 64),
    "max_batch": _as_number("worker.max_batch", 1, 64),
    "max_length": _as_number("worker.max_tokens", 1, 4096),
    "nsfw": _declining("nsfw"),
    "allow_img2img": _img2img,
    "allow_painting": _declining("inpainting"),
    "allow_controlnet": _declining("controlnet"),
    "allow_lora": _declining("lora"),
    "allow_post_processing": _declining("post-processing"),
    "alchemist": _declining("alchemy"),
    "models_to_load": _models("worker.models"),
    "models_to_skip": _models("worker.models_to_skip"),
    "blacklist": _blacklist,
    "vram_to_leave_free": _vram,
    "forms": _forms,
    "custom_models": _custom_models,
}
