"""Recorded exchanges with a real AI Horde server, said again to a node: which answers match. A tool for developers.

    python -m tests.e2e.horde.replay FOLDER [URL KEY]

``FOLDER`` holds the records (see :mod:`.recorded`), ``URL`` and ``KEY`` belong to a running node of a mesh whose workers offer
what the records ask for; without them a mesh is set up for it (see :mod:`.stage`). Ends with 1 if one of the exchanges that real
clients need differs.

Answers match in their code and the types of their fields, errors in every word, but for what prices are in them. What was
recorded as a page of HTML matches in its code alone. Ids, keys and the user's own name are replaced by those that are good here.

One answer differs on purpose, of those that only workers need: a worker that pops for a model that nobody has heard of is let in,
as a mesh keeps no list of models.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from tests.e2e.horde.recorded import Description, Exchange, bad_requests, differences, exchanges
from tests.e2e.horde.stage import recorded_mesh

WAIT_S = 120
CUT = " chars>"
"""Ends what was cut in the records."""
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RECORDED_NAME = b"test_user#1"
NEEDED = re.compile(
    r"/api/v2/(generate/(async|check/.*|status/.*)|interrogate/(async|status/.*)|generate/text/(async|status/.*)"
    r"|find_user|status/(heartbeat|performance|models|news|modes)|workers.*)(\?.*)?"
)
"""The least that real clients need."""


@dataclass
class Row:
    exchange: Exchange
    status: int
    faults: list[str]

    @property
    def needed(self) -> bool:
        return NEEDED.fullmatch(self.exchange.path) is not None


class Replay:
    def __init__(self, client: httpx.Client, key: str, description: Description) -> None:
        self._client, self._key, self._description = client, key, description
        self._ids: dict[str, str] = {}  # recorded -> ours
        me = client.get("/api/v2/find_user", headers={"apikey": key}).json()
        self._name = str(me["username"])
        self._picture = _picture()

    def rows(self, folder: Path) -> Iterator[Row]:
        for exchange in (*exchanges(folder), *bad_requests(folder)):
            yield self._row(self._ours(exchange))

    def _row(self, exchange: Exchange) -> Row:
        answer = self._ask(exchange)
        found = _body(answer)
        faults = [] if answer.status_code == exchange.status else [f"code {answer.status_code}, recorded was {exchange.status}"]
        if not faults and not isinstance(exchange.answer, str):
            faults += list(differences(exchange.answer, found))
            faults += [f"required: {name}" for name in sorted(self._lacking(exchange, found))]
            if exchange.exact and not faults and not _same(exchange.answer, found):
                faults.append(f"said {_short(found)}, recorded was {_short(exchange.answer)}")
        if isinstance(exchange.answer, dict) and isinstance(found, dict) and exchange.status == 202 and "id" in found:
            self._ids[str(exchange.answer["id"])] = str(found["id"])
        return Row(exchange, answer.status_code, faults)

    def _lacking(self, exchange: Exchange, found: Any) -> set[str]:
        """What the real server left out itself need not be there."""
        at = (exchange.method, exchange.path, exchange.status)
        return self._description.lacking(*at, found) - self._description.lacking(*at, exchange.answer)

    def _ask(self, exchange: Exchange) -> httpx.Response:
        """A job that was over when it was recorded is awaited."""
        end = time.monotonic() + WAIT_S
        while True:
            answer = self._client.request(exchange.method, exchange.path, headers=exchange.headers, content=exchange.body)
            if not _over(exchange.answer) or _over(_body(answer)) or answer.status_code >= 400 or time.monotonic() > end:
                return answer
            time.sleep(0.5)

    def _ours(self, exchange: Exchange) -> Exchange:
        """With this node's ids and key, and pictures that were cut in the records."""
        path = UUID.sub(lambda found: self._ids.get(found[0], found[0]), exchange.path)
        headers = {name: self._key if value == "KEY" else value for name, value in exchange.headers.items()}
        if exchange.status < 400 and "apikey" not in headers:
            headers["apikey"] = self._key
        if exchange.status == 401 and exchange.method == "POST":  # keys were left out of the records
            headers.setdefault("apikey", "bad")
        return replace(
            exchange, path=path, headers=headers, body=self._whole(exchange.body.replace(RECORDED_NAME, self._name.encode()))
        )

    def _whole(self, body: bytes) -> bytes:
        try:
            parsed = json.loads(body)
        except ValueError:
            return body
        for name in ("source_image", "source_mask"):
            if isinstance(parsed, dict) and CUT in str(parsed.get(name, "")):
                parsed[name] = self._picture
        return json.dumps(parsed).encode()


def _picture() -> str:
    file = BytesIO()
    Image.linear_gradient("L").resize((512, 512)).convert("RGB").save(file, "WEBP")
    return base64.b64encode(file.getvalue()).decode()


def _body(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return answer.text


def _over(answer: Any) -> bool:
    return isinstance(answer, dict) and (answer.get("done") is True or answer.get("state") == "done")


def _same(recorded: Any, found: Any) -> bool:
    """Prices are the mesh's own, and are left out of the comparison."""
    return _plain(recorded) == _plain(found)


def _plain(answer: Any) -> str:
    return re.sub(r"[\d.]+ kudos", "N kudos", json.dumps(answer, sort_keys=True))


def _short(answer: Any) -> str:
    return json.dumps(answer)[:160]


def main(folder: str, *node: str) -> int:
    records = Path(folder)
    if not (records / "exchanges.jsonl").is_file():
        print(f"{folder} holds no records: nothing to replay")
        return 0
    if node:
        url, key = node
        return show(replayed(records, url, key))
    with recorded_mesh() as (url, key):
        return show(replayed(records, url, key))


def replayed(records: Path, url: str, key: str) -> list[Row]:
    with httpx.Client(base_url=url, timeout=60) as client:
        return list(Replay(client, key, Description.of(records)).rows(records))


def show(rows: Sequence[Row]) -> int:
    """The table; 1 if one of those that clients need differs."""
    for row in rows:
        print("match  " if not row.faults else "differs", "*" if row.needed else " ", row.status, row.exchange.label)
        for fault in row.faults:
            print("          ", fault)
    wrong = [row for row in rows if row.faults]
    print(f"{len(rows) - len(wrong)} of {len(rows)} match; of those that clients need, {sum(row.needed for row in wrong)} differ")
    return 1 if any(row.needed for row in wrong) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
