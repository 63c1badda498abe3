"""What was recorded of a real AI Horde server, and how an answer of a node's differs from it.

A folder of records holds ``exchanges.jsonl`` (a request and its answer a line), ``errors.txt`` (bad requests as curl's arguments,
each with its answer) and ``swagger.json`` (the server's own description). Nothing of it is needed by any test.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NUMBERS = (int, float)


@dataclass(frozen=True)
class Exchange:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    answer: Any
    exact: bool = False
    """The whole answer is to be the same, as an error's is; else its shape."""

    @property
    def label(self) -> str:
        shown = self.body.decode("utf-8", "replace")
        return f"{self.method} {self.path} {shown[:60]}"


def exchanges(folder: Path) -> Iterator[Exchange]:
    for line in (folder / "exchanges.jsonl").read_text().splitlines():
        one = json.loads(line)
        body = b"" if one["request"] is None else json.dumps(one["request"]).encode()
        failed = one["status"] >= 400
        yield Exchange(one["method"], one["path"], one["request_headers"], body, one["status"], one["response"], failed)


def bad_requests(folder: Path) -> Iterator[Exchange]:
    """``--- [-XMETHOD] PATH [-H header]... [-d body]``, then ``CODE TYPE``, then the answer."""
    for block in (folder / "errors.txt").read_text().split("--- ")[1:]:
        command, head, *rest = block.strip().split("\n")
        method, path, headers, body = _curl(command)
        status = int(head.split()[0])
        yield Exchange(method, path, headers, body, status, _parsed("\n".join(rest)), status >= 400)


def _curl(command: str) -> tuple[str, str, dict[str, str], bytes]:
    """The command line was recorded without quotes: headers and the body end where the next option begins."""
    method, path, headers, body = "GET", "", {}, b""
    for part in re.split(r"\s+(?=-[XHd])|^(?=-X)", command):
        words = part.strip()
        if words.startswith("-X"):
            method, _, path = words[2:].partition(" ")
        elif words.startswith("-H "):
            name, _, value = words[3:].partition(": ")
            headers[name] = value
        elif words.startswith("-d "):
            body = words[3:].encode()
        elif words:
            path = shlex.split(words)[0]
    return method, path, headers, body


def _parsed(text: str) -> Any:
    """What was cut is taken as far as it goes."""
    for at in (len(text), *(place.start() for place in reversed(list(re.finditer(",", text))))):
        for end in ("", "}", "}]}"):
            try:
                return json.loads(text[:at] + end)
            except ValueError:
                continue
    return text


@dataclass
class Description:
    """What the server says of itself: which fields an answer must have."""

    swagger: dict[str, Any]
    _paths: list[tuple[re.Pattern[str], dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        base = self.swagger.get("basePath", "")
        for path, operations in self.swagger["paths"].items():
            pattern = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(base + path))
            self._paths.append((re.compile(pattern), operations))

    @classmethod
    def of(cls, folder: Path) -> Description:
        return cls(json.loads((folder / "swagger.json").read_text()))

    def lacking(self, method: str, path: str, status: int, answer: Any) -> set[str]:
        """Required fields that this answer has not."""
        plain = path.partition("?")[0]
        for pattern, operations in self._paths:
            if pattern.fullmatch(plain) and method.lower() in operations:
                schema = operations[method.lower()].get("responses", {}).get(str(status), {}).get("schema")
                return set(self._lacking(schema, answer, "")) if schema else set()
        return set()

    def _lacking(self, schema: dict[str, Any], value: Any, where: str) -> Iterator[str]:
        if "$ref" in schema:
            schema = self.swagger["definitions"][schema["$ref"].rpartition("/")[2]]
        for part in schema.get("allOf", ()):
            yield from self._lacking(part, value, where)
        if isinstance(value, list) and "items" in schema:
            for item in value[:1]:
                yield from self._lacking(schema["items"], item, f"{where}[]")
        if isinstance(value, dict):
            yield from (f"{where}.{name}" for name in schema.get("required", ()) if name not in value)
            for name, part in schema.get("properties", {}).items():
                if value.get(name) is not None:
                    yield from self._lacking(part, value[name], f"{where}.{name}")


def differences(recorded: Any, found: Any, where: str = "") -> Iterator[str]:
    """In shape: fields that are missing, or of another type. More fields than were recorded are no difference."""
    if recorded is None:
        return
    if isinstance(recorded, dict) and isinstance(found, dict):
        for name, value in recorded.items():
            if name not in found:
                yield f"{where}.{name} is missing"
            else:
                yield from differences(value, found[name], f"{where}.{name}")
    elif isinstance(recorded, list) and isinstance(found, list):
        if recorded and found:
            yield from differences(recorded[0], found[0], f"{where}[]")
    elif kind(recorded) != kind(found):
        yield f"{where} is a {kind(found)}, recorded was a {kind(recorded)}"


def kind(value: Any) -> str:
    return "number" if isinstance(value, NUMBERS) and not isinstance(value, bool) else type(value).__name__
