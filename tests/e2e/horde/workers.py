"""AI Horde's workers as programs of our own: they pop, work, upload and submit as reGen, KoboldCpp and its alchemists do."""

from __future__ import annotations

import base64
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from typing import Any

import httpx
from PIL import Image

LISTS = ("tags", "sites", "artists", "flavors", "mediums", "movements", "techniques")
"""Of an interrogation: AI Horde's own library wants all of them."""
FORMS = ("caption", "nsfw", "interrogation", "RealESRGAN_x4plus")
"""What a :class:`Knowing` alchemist answers."""
POP_S = 0.1
"""The real ones ask every second."""
ASKS_S = 20.0


def drawn(seed: int, width: int, height: int, kind: str = "WEBP") -> bytes:
    """Another picture for another seed."""
    file = BytesIO()
    Image.new("RGB", (width, height), tuple(sha256(str(seed).encode()).digest()[:3])).save(file, kind)
    return file.getvalue()


class HordeWorker(ABC):
    """Runs in a thread. ``answers`` are what its submits were answered with: (status, body)."""

    pop_path: str
    submit_path: str

    def __init__(self, url: str, key: str, name: str, **more: Any) -> None:
        self.client = httpx.Client(base_url=f"{url}/api/v2", headers={"apikey": key}, timeout=ASKS_S)
        self.plain = httpx.Client(timeout=ASKS_S)  # no key where there is a URL with a signature
        self.pop = {"name": name, "bridge_agent": f"{type(self).__name__}:1:https://example.org", "threads": 1, **more}
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.refusals: list[tuple[int, dict[str, Any]]] = []
        self._stop = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, name=self.pop["name"])
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            self.client.close()
            self.plain.close()

    def _run(self) -> None:
        while not self._stop.wait(POP_S):
            answer = self.client.post(self.pop_path, json=self.pop)
            if answer.status_code == 200:
                self.work(answer.json())
            else:
                self.refusals.append((answer.status_code, answer.json()))

    @abstractmethod
    def work(self, popped: dict[str, Any]) -> None: ...

    def submit(self, body: dict[str, Any]) -> None:
        answer = self.client.post(self.submit_path, json=body)
        self.answers.append((answer.status_code, answer.json()))

    @property
    def kudos(self) -> float:
        return sum(float(body["reward"]) for status, body in self.answers if status == 200)


class Regen(HordeWorker):
    """Uploads, or with ``inline`` hands in base64."""

    pop_path, submit_path = "/generate/pop", "/generate/submit"
    inline = False

    def work(self, popped: dict[str, Any]) -> None:
        payload = popped["payload"]
        for place, piece in enumerate(popped["ids"]):
            seed = int(payload["seed"]) + place
            self.hand_in(popped, piece, place, seed, self.draw(popped, seed))

    def draw(self, popped: dict[str, Any], seed: int) -> bytes:
        payload = popped["payload"]
        return drawn(seed, payload["width"], payload["height"])

    def hand_in(self, popped: dict[str, Any], piece: str, place: int, seed: int, picture: bytes) -> None:
        generation = base64.b64encode(picture).decode() if self.inline else "R2"
        if not self.inline:
            assert self.plain.put(popped["r2_uploads"][place], content=picture).status_code == 200
        self.submit({"id": piece, "generation": generation, "seed": seed, "state": "ok", "gen_metadata": []})


class Careless(Regen):
    """Uploads what is no picture, hands in twice, and for somebody else."""

    def draw(self, popped: dict[str, Any], seed: int) -> bytes:
        return b"this is no picture"

    def work(self, popped: dict[str, Any]) -> None:
        super().work(popped)
        for piece in popped["ids"]:
            self.submit({"id": piece, "generation": "R2", "seed": 1})
            self.submit({"id": piece[::-1], "generation": "R2", "seed": 1})


class Kobold(HordeWorker):
    pop_path, submit_path = "/generate/text/pop", "/generate/text/submit"

    def work(self, popped: dict[str, Any]) -> None:
        if popped["id"]:
            text = f"{popped['payload']['max_length']} tokens at the most"
            self.submit({"id": popped["id"], "generation": text, "state": "ok"})


class Alchemist(HordeWorker):
    pop_path, submit_path = "/interrogate/pop", "/interrogate/submit"

    def work(self, popped: dict[str, Any]) -> None:
        for form in popped["forms"]:
            with Image.open(BytesIO(self.plain.get(form["source_image"]).content)) as source:
                width, height = source.size
            self.submit({"id": form["id"], "result": {form["form"]: self.result(form, width, height)}, "state": "ok"})

    def result(self, form: dict[str, Any], width: int, height: int) -> Any:
        if not form["form"].startswith("RealESRGAN_x"):
            return f"a picture of {width} by {height}"
        times = int(form["form"].removeprefix("RealESRGAN_x")[0])
        assert self.plain.put(form["r2_upload"], content=drawn(1, times * width, times * height)).status_code == 200
        return "R2"


class Knowing(Alchemist):
    """Answers a form of each kind."""

    def result(self, form: dict[str, Any], width: int, height: int) -> Any:
        match form["form"]:
            case "nsfw":
                return False
            case "interrogation":
                return {name: [{"text": f"one of {name}", "confidence": 0.5}] for name in LISTS}
        return super().result(form, width, height)
