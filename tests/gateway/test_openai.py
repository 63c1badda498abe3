"""OpenAI's images API: what programs send, what they get, and who hangs up cancels."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import httpx
import pytest
import trio
from fastapi import FastAPI
from PIL import Image

from meshgen.gateway.errors import install_handlers
from meshgen.gateway.horde.desk import Desk
from meshgen.gateway.keys import KeyRing
from meshgen.gateway.openai import models_list, openai_routes
from meshgen.peers.job import Finished, Job
from meshgen.peers.request import RequestError
from tests.gateway.fake_node import SECRET, FakeNode

PATH = "/v1/images/generations"


def png() -> bytes:
    file = BytesIO()
    Image.new("RGBA", (64, 32), "teal").save(file, "PNG")
    return file.getvalue()


def deliver(job: Job) -> None:
    for index in range(job.request.count):
        job.results[index] = Finished(index, 7 + index, "peer", "bob", png(), "image/png", 1000, "", 0.1)
    job.enter("done")


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    node.requester.on_submit = deliver
    return node


@pytest.fixture
async def api(node: FakeNode) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(openai_routes(node, keys := KeyRing(), Desk(keys)))
    install_handlers(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:4712") as client:
        yield client


async def test_pictures_come_as_url_and_as_base64(api: httpx.AsyncClient, node: FakeNode) -> None:
    asked = {"prompt": SECRET, "model": "gpt-image-1", "n": 2, "size": "512x768", "quality": "high", "user": "somebody"}
    answer = await api.post(PATH, json=asked)
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["data"]
    assert base64.b64decode(first["b64_json"]) == png() and "/api/v2/pictures/" in second["url"]
    (request,) = node.requester.requests
    assert (request.width, request.height, request.steps, request.count, request.model) == (512, 768, 40, 2, "")


@pytest.mark.parametrize(("form", "keys"), [("url", {"url"}), ("b64_json", {"b64_json"})])
async def test_in_the_form_that_was_asked_for(api: httpx.AsyncClient, form: str, keys: set[str]) -> None:
    answer = await api.post(PATH, json={"prompt": "a fjord", "response_format": form, "n": None, "size": None})
    assert set(answer.json()["data"][0]) == keys


@pytest.mark.parametrize("form", ["jpeg", "webp"])
async def test_in_the_format_that_was_asked_for(api: httpx.AsyncClient, form: str) -> None:
    answer = await api.post(PATH, json={"prompt": "a fjord", "output_format": form, "response_format": "b64_json"})
    data = base64.b64decode(answer.json()["data"][0]["b64_json"])
    assert Image.open(BytesIO(data)).format == form.upper()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"size": "big"}, "size"), ({"size": "0x99999999"}, "size"), ({"n": 0}, "n"), ({"n": 11}, "n"), ({"prompt": ""}, "prompt")],
)
async def test_bad_input_is_named(api: httpx.AsyncClient, node: FakeNode, wrong: dict[str, Any], field: str) -> None:
    answer = await api.post(PATH, json={"prompt": "a fjord"} | wrong)
    assert 400 <= answer.status_code < 500 and field in answer.text and not node.requester.requests


async def test_refusals_and_failures_have_openais_shape(api: httpx.AsyncClient, node: FakeNode) -> None:
    def refuse(job: Job) -> None:
        raise RequestError("bad_size", "8 is not enough", "width")

    node.requester.on_submit = refuse
    error = (answer := await api.post(PATH, json={"prompt": "a fjord"})).json()["error"]
    assert answer.status_code == 400
    assert error == {"message": "8 is not enough.", "type": "invalid_request_error", "param": None, "code": "InvalidSize"}
    node.requester.on_submit = lambda job: job.enter("failed", "no worker is known")
    error = (answer := await api.post(PATH, json={"prompt": "a fjord"})).json()["error"]
    assert answer.status_code == 503 and error["message"] == "no worker is known" and error["type"] == "server_error"


async def test_who_hangs_up_cancels(node: FakeNode) -> None:
    submitted, gone = trio.Event(), trio.Event()
    node.requester.on_submit = lambda job: submitted.set()
    node.requester.on_cancel = lambda job: (job.enter("cancelled", "cancelled"), gone.set())[0]
    app = FastAPI()
    app.include_router(openai_routes(node, keys := KeyRing(), Desk(keys)))
    body = b'{"prompt": "a fjord"}'
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await submitted.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        pass

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(), "query_string": b"", "headers": headers}
    with trio.fail_after(5):
        await app(scope | {"http_version": "1.1", "scheme": "http", "root_path": ""}, receive, send)
    assert gone.is_set()


def test_models_are_listed_as_openai_does() -> None:
    listed = models_list([{"name": "sd15"}])
    assert listed == {"object": "list", "data": [{"id": "sd15", "object": "model", "created": 0, "owned_by": "mesh"}]}
