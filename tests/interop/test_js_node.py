"""A peer that shares no code with this package, on js-libp2p and the specs of ``protocols`` alone, in a mesh of Python nodes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from meshgen.cli.client import Api
from meshgen.cli.local_mesh import LocalMesh, local_mesh, wait_for
from meshgen.identity import peer_id
from tests.interop.conftest import CHARTER, Script, meshgen

SIDE = 64
KINDS = ["genesis", "hold", "receipt", "hold", "receipt"]

ANSWERS = {
    # what no implementation would say ends the channel
    "garbage for an offer": "reset",
    "an empty offer": "reset",
    "a frame that is too long": "reset",
    "a frame of no known type": "reset",
    "garbage for a question": "reset",
    "a question about another mesh": "reset",
    "garbage for an award": "reset",
    "a wrong signature": "reset",
    "a changed body": "reset",
    "another author": "reset",
    "another form": "reset",
    "an advert for an offer": "reset",
    # what is well said is answered
    "an offer": "bid",
    "no offer": "end",
    "another mesh": "other_mesh",
    "an offer that is over": "expired",
    "an offer from the future": "expired",
    "an unknown model": "unknown_model",
    "other weights": "unknown_model",
    "a picture too large": "too_large",
    "nothing for it": "price",
    "a feature that is missing": "unsupported",
    "garbage for an advert": "answer",
    # and so is an award
    "an award for no bid": "not_mine",
    "a bid awarded twice": "not_mine",
    "work sealed to somebody else": "bad_offer",
    "work of another size": "bad_offer",
    "a hold of too little": "bad_offer",
    "a hold that names another head": "bad_offer",
    "a hold that is not there": "bad_hold",
    "a chain in part, the rest on asking": "done",
    "a job": "done",
    "an entry that was changed": "bad_chain",
    "two entries for one place": "bad_chain",
    "an offer of who forked": "standing",
}


def chain(api: Api, peer: str) -> list[str]:
    return [entry["kind"] for entry in api.get("/v1/credit/log", peer=peer)["entries"]]


def known(api: Api, peer: str) -> dict[str, Any]:
    """What a node shows of a peer; nothing if it has not heard of it."""
    return next((each for each in api.get("/v1/peers")["peers"] if each["peer_id"] == peer), {})


def balance(api: Api, peer: str) -> dict[str, Any]:
    return dict(api.get("/v1/credit/balance", peer=peer))


def check_picture(picture: dict[str, Any]) -> None:
    png = base64.b64decode(picture["png"])
    assert hashlib.sha256(png).hexdigest() == picture["sha256"]
    with Image.open(BytesIO(png)) as image:
        assert (image.format, image.size) == ("PNG", (SIDE, SIDE))


@pytest.mark.parametrize("way", ["", "relayed"])
def test_it_draws_for_a_python_node(run: Callable[..., Script], mesh: LocalMesh, way: str) -> None:
    ada = mesh.nodes["ada"].api
    script = run(mesh.nodes["hub"], "draw.js", way)
    joined = script.until("joined")[-1]
    wait_for(lambda: joined["model"] in known(ada, joined["peer_id"]).get("models", ()), "Ada to know it", 20)
    wanted = {"prompt": "a plain colour", "model": joined["model"], "steps": 4, "count": 2, "width": SIDE, "height": SIDE}
    job_id = ada.post("/v1/jobs", wanted)["id"]
    drawn = script.until("drawn")[-1]
    assert (drawn["pictures"], drawn["prompt"]) == (2, wanted["prompt"])

    wait_for(lambda: ada.get(f"/v1/jobs/{job_id}")["state"] == "done", "the job to be done", 10)
    assert known(ada, joined["peer_id"])["relayed"] == bool(way)
    for index in range(2):
        with Image.open(BytesIO(ada.fetch(f"/v1/jobs/{job_id}/results/{index}"))) as image:
            assert image.size == (SIDE, SIDE)
    payer = ada.get("/v1/status")["peer_id"]
    assert ada.get("/v1/credit/log", peer=payer)["entries"][-1]["id"] == drawn["receipt"]
    assert balance(ada, joined["peer_id"])["earned_mkudos"] == drawn["mkudos"]


def test_what_it_says_wrongly_is_answered_as_the_specs_tell(run: Callable[..., Script], mesh: LocalMesh) -> None:
    told = {facts["what"]: facts["answer"] for facts in run(mesh.nodes["hub"], "rude.js", "fake").steps()}
    assert told == ANSWERS
    assert mesh.nodes["wanda"].api.get("/v1/credit/verify")["ok"]


def test_it_joins_asks_gets_its_pictures_and_pays(run: Callable[..., Script], mesh: LocalMesh) -> None:
    wanda, hub = mesh.nodes["wanda"], mesh.nodes["hub"]
    script = run(hub, "request.js", "fake")
    joined, advert, table, *jobs, settled = script.until("settled")
    assert (joined["hub"], advert["alias"], advert["worker"]) == (hub.peer_id, "wanda", wanda.peer_id)
    assert (table["alias"], table["server"]) == ("wanda", wanda.peer_id)

    assert settled["stored"] > 0
    heard, first, asked, second = jobs
    assert (heard["way"], asked["way"]) == ("gossip", "straight")
    assert heard["worker"] == asked["worker"] == wanda.peer_id
    for job, bid, count in ((first, heard, 1), (second, asked, 3)):
        assert (job["outcome"], len(job["pictures"]), job["mkudos"]) == ("done", count, bid["mkudos"] * count)
        assert job["progress"] > 0
        for picture in job["pictures"]:
            check_picture(picture)

    author = peer_id(bytes.fromhex(settled["author"]))
    assert author == joined["peer_id"]
    for node in (wanda, hub):  # she was shown it, the hub pulled it from its author
        wait_for(lambda api=node.api: chain(api, author) == KINDS, f"{node.name} to hold its chain", 20)  # type: ignore[misc]
        assert node.api.get("/v1/credit/log", peer=author)["entries"][-1]["id"] == settled["head"]
        its = balance(node.api, author)
        assert (its["spent_mkudos"], its["held_mkudos"]) == (first["mkudos"] + second["mkudos"], 0)
        report = node.api.get("/v1/credit/verify")
        assert (report["ok"], report["total_mkudos"]) == (True, 0), report


def test_it_joins_a_private_mesh_by_its_line_alone(run: Callable[..., Script], tmp_path: Path) -> None:
    meshgen(tmp_path / "hub", "mesh", "key", "new")
    with local_mesh(tmp_path, CHARTER) as mesh:
        hub = mesh.start("hub", "hub")
        joined = run(hub, "draw.js").until("joined")[-1]
        wait_for(
            lambda: joined["model"] in {model["name"] for model in hub.api.get("/v1/models")["mesh"]}, "the hub to know it", 20
        )
