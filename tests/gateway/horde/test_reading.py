"""What AI Horde's clients read: status, users, workers, figures, documents; and what a mesh has nobody for."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from meshgen.gateway.horde.names import uuid_of
from meshgen.gateway.horde.people import People
from meshgen.home import KEY_FILE
from tests.gateway.fake_node import ALICE, BOB, SECRET, FakeNode, award, draw
from tests.gateway.fake_overseer import FakeOverseer
from tests.gateway.horde.conftest import OWN

BOB_ROW = {
    "peer_id": BOB.peer_id,
    "alias": "bob",
    "agent": "meshgen/1.2",
    "roles": ["worker"],
    "models": ["sd15", "tiny", "caption"],
    "policies": ["no-lora", "no-nsfw"],
    "queued": 3,
    "slots": 2,
    "max_pixels": 1_048_576,
}
MESH = [
    {"name": "sd15", "family": "sd1", "workers": 2, "queued": 3},
    {"name": "tiny", "family": "text", "workers": 1, "queued": 0},
    {"name": "caption", "family": "alchemy", "workers": 1, "queued": 0},
]


@pytest.fixture
def node(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    monkeypatch.setattr(node, "peers", lambda: [BOB_ROW, {"peer_id": peer_of(7), "alias": "", "roles": [], "models": []}])
    monkeypatch.setattr(node, "models", lambda: {"mesh": MESH, "adapters": [], "local": []})
    node.overseer = FakeOverseer()
    return node


def peer_of(seed: int) -> str:
    from meshgen.identity import Identity

    return Identity.from_seed(bytes([seed] * 32)).peer_id


async def paint(api: httpx.AsyncClient, node: FakeNode) -> None:
    """One picture of 512 x 512 in 20 steps, by Bob in half a second."""
    assert node.requester
    await api.post("/v1/jobs", json={"prompt": SECRET}, headers={"authorization": "Bearer a-token"})
    job = node.requester.jobs["job1"]
    award(job)
    draw(job, 0)
    job.enter("done")


async def test_heartbeat_performance_news_and_modes(api: httpx.AsyncClient, node: FakeNode) -> None:
    beat = (await api.get("/api/v2/status/heartbeat")).json()
    assert beat["message"] == "OK" and isinstance(beat["version"], str) and beat["db_connection"] is True
    await paint(api, node)
    found = (await api.get("/api/v2/status/performance")).json()
    assert (found["worker_count"], found["text_worker_count"], found["interrogator_count"]) == (2, 1, 1)
    assert found["past_minute_megapixelsteps"] == round(512 * 512 * 20 / 1e6, 2) and found["queued_requests"] >= 3
    assert (await api.get("/api/v2/status/news")).json() == []
    assert (await api.get("/api/v2/status/modes")).json() == {"maintenance_mode": False, "invite_only_mode": False}


async def test_models_by_type_and_count(api: httpx.AsyncClient) -> None:
    models = (await api.get("/api/v2/status/models?type=image&model_state=all")).json()
    assert [(row["name"], row["count"], row["jobs"], row["type"]) for row in models] == [("sd15", 2, 3.0, "image")]
    assert [row["name"] for row in (await api.get("/api/v2/status/models?type=text")).json()] == ["tiny"]
    assert (await api.get("/api/v2/status/models?min_count=3")).json() == []
    assert (await api.get("/api/v2/status/models?model_state=custom")).json() == []
    assert (await api.get("/api/v2/status/models/koboldcpp/none")).json()[0]["count"] == 0
    assert (await api.get("/api/v2/status/models/sd15")).json()[0]["count"] == 2
    bad = await api.get("/api/v2/status/models?type=video")
    assert (bad.status_code, "type" in bad.json()["errors"]) == (400, True)


async def test_workers_are_peers(api: httpx.AsyncClient, node: FakeNode) -> None:
    await paint(api, node)
    alice, bob = (await api.get("/api/v2/workers?type=")).json()
    assert (alice["name"], alice["id"], alice["models"]) == ("alice", uuid_of(ALICE.peer_id), ["sd15"])
    assert (bob["type"], bob["models"], bob["threads"], bob["bridge_agent"]) == ("image", ["sd15"], 2, "meshgen:1.2:unknown")
    assert (bob["lora"], bob["nsfw"], bob["img2img"], bob["requests_fulfilled"]) == (False, False, True, 1)
    assert bob["performance"] == "10.5 megapixelsteps per second" and uuid.UUID(bob["id"])
    for address in (f"/api/v2/workers/{bob['id']}", "/api/v2/workers/name/BOB"):
        assert (await api.get(address)).json() == bob
    (text,) = (await api.get("/api/v2/workers?type=text")).json()
    assert (text["type"], text["models"], text["id"]) == ("text", ["tiny"], bob["id"])
    (forms,) = (await api.get("/api/v2/workers?type=interrogation&name=bob")).json()
    assert forms["forms"] == ["caption"] and "models" not in forms
    for address in (f"/api/v2/workers/{uuid.UUID(int=0)}", "/api/v2/workers/name/nobody", "/api/v2/workers/x"):
        answer = await api.get(address)
        assert (answer.status_code, answer.json()["rc"]) == (404, "WorkerNotFound")


class Bridged:
    """A reGen and a KoboldCpp that fetch their jobs here."""

    def workers(self) -> list[dict[str, Any]]:
        row = {
            "name": "my dreamer",
            "kind": "image",
            "agent": "AI Horde Worker reGen:10.1.1:x",
            "models": ["Deliberate"],
            "threads": 2,
        }
        row |= {"max_pixels": 262_144, "max_tokens": 512, "max_context": 2048, "allows": ["img2img"], "nsfw": True, "done": 3}
        row |= {"mkudos": 26_000, "held": 0, "speed": 2.5, "seen_s": 0.5}
        return [row, row | {"name": "my scribe", "kind": "text", "speed": 0.0}, row | {"name": "my alchemist", "kind": "alchemy"}]


async def test_bridged_workers_are_found_by_their_own_names(api: httpx.AsyncClient, node: FakeNode) -> None:
    node.bridge = Bridged()  # type: ignore[assignment]
    dreamer = (await api.get("/api/v2/workers/name/My Dreamer")).json()
    assert (dreamer["type"], dreamer["kudos_rewards"], dreamer["threads"]) == ("image", 26.0, 2)
    assert (dreamer["img2img"], dreamer["painting"], dreamer["performance"]) == (True, False, "2.5 megapixelsteps per second")
    assert (await api.get(f"/api/v2/workers/{dreamer['id']}")).json() == dreamer
    (tiny, scribe) = (await api.get("/api/v2/workers?type=text")).json()
    assert (scribe["max_length"], scribe["max_context_length"], scribe["performance"]) == (512, 2048, "No requests fulfilled yet")
    assert tiny["max_length"] > 0 and tiny["max_context_length"] > 0, "clients cut their prompts by these"
    assert [row["name"] for row in (await api.get("/api/v2/workers?type=interrogation")).json()] == ["bob", "my alchemist"]


async def test_the_own_worker_goes_into_maintenance_and_others_do_not(api: httpx.AsyncClient, node: FakeNode) -> None:
    own, other = (f"/api/v2/workers/{uuid_of(peer)}" for peer in (ALICE.peer_id, BOB.peer_id))
    body = {"maintenance": True, "maintenance_msg": "new\nfan"}
    assert "apikey" in (await api.put(own, json=body)).json()["errors"]
    assert (await api.put(own, json=body, headers={"apikey": "0000000000"})).json()["rc"] == "AnonForbidden"
    assert (await api.put(own, json=body, headers=OWN)).json() == {"maintenance": True, "name": "alice"}
    assert node.overseer and node.overseer.said == [("pause", 0, "new fan", False)]
    assert (await api.get(own)).json()["maintenance_mode"] is True
    assert (await api.put(own, json={"maintenance": False}, headers=OWN)).status_code == 200
    for body, status, rc in (
        ({}, 400, "NoWorkerModSelected"),
        ({"paused": True}, 403, "NotModerator"),
        ({"name": "another"}, 400, "BadRequest"),
    ):
        answer = await api.put(own, json=body, headers=OWN)
        assert (answer.status_code, answer.json()["rc"]) == (status, rc)
    answer = await api.put(other, json={"maintenance": True}, headers=OWN)
    assert (answer.status_code, answer.json()["rc"]) == (403, "NotOwner")
    node.overseer.fails = OSError(28, "no space")
    assert (await api.put(own, json={"maintenance": True}, headers=OWN)).json()["rc"] == "BadRequest"
    node.overseer.fails = None
    assert (await api.delete(own, headers=OWN)).json() == {"deleted_id": uuid_of(ALICE.peer_id), "deleted_name": "alice"}
    assert (await api.delete(other, headers=OWN)).status_code == 403


@pytest.mark.parametrize(
    "path",
    ["users", "workers", "status/models", "status/performance", "status/heartbeat", "stats/img/totals", "stats/text/models"],
)
async def test_pages_of_other_sites_look_around_with_a_key_alone(api: httpx.AsyncClient, home: Path, path: str) -> None:
    path, page = f"/api/v2/{path}", {"origin": "https://elsewhere.example"}
    assert (await api.get(path, headers=page)).status_code == 401
    assert (await api.get(path, headers=page | {"apikey": "bad"})).status_code == 401
    assert (await api.get(path, headers={"sec-fetch-site": "cross-site"})).status_code == 401
    keyed = page | {"apikey": (home / KEY_FILE).read_text().strip()}
    assert (await api.get(path, headers=keyed)).status_code == 200
    assert (await api.get(path)).status_code == 200, "what runs on this machine needs none"
    for here in ("http://localhost:3000", "http://127.0.0.1:3000"):
        assert (await api.get(path, headers={"origin": here})).status_code == 200, "nor does a frontend that is served from it"
    for disguised in ("http://localhost.evil.example", "http://127.0.0.1.evil.example:80", "null"):
        assert (await api.get(path, headers={"origin": disguised})).status_code == 401


@pytest.mark.parametrize("path", ["users/1", "workers/name/x", "workers/1", "status/models/x"])
async def test_nor_at_one_of_them(api: httpx.AsyncClient, path: str) -> None:
    assert (await api.get(f"/api/v2/{path}", headers={"origin": "https://elsewhere.example"})).status_code == 401


async def test_users_are_accounts(api: httpx.AsyncClient, node: FakeNode) -> None:
    owner = People(node).owner
    me = (await api.get("/api/v2/find_user", headers=OWN)).json()
    assert (me["username"], me["id"], me["kudos"]) == (owner.username, owner.id, 3.5)
    assert me["worker_ids"] == [uuid_of(ALICE.peer_id)] and me["active_generations"] == {"text": [], "image": [], "alchemy": []}
    users = (await api.get("/api/v2/users")).json()
    assert [user["username"].rpartition("#")[0] for user in users][:2] == ["alice", "bob"]
    assert users[-1]["username"] == "Anonymous#0" or users[-2]["username"] == "Anonymous#0"
    assert users[0]["active_generations"] == {} and users[0]["contact"] is None
    assert (await api.get("/api/v2/users?page=2")).json() == []
    shown = (await api.get(f"/api/v2/users/{owner.id}")).json()
    assert shown == {name: value for name, value in me.items() if name != "active_generations"}
    assert "active_generations" in (await api.get(f"/api/v2/users/{owner.id}", headers=OWN)).json()
    anonymous = (await api.get("/api/v2/find_user", headers={"apikey": "0000000000"})).json()
    assert (anonymous["username"], anonymous["id"], anonymous["kudos"]) == ("Anonymous#0", 0, 0)
    assert (await api.get("/api/v2/users/0")).json() == anonymous


@pytest.mark.parametrize("path", ["/api/v2/users/999999", "/api/v2/users/x", "/api/v2/users/" + "9" * 50, "/api/v2/users/-1"])
async def test_unknown_users(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status_code, answer.json()["rc"]) == (404, "UserNotFound")


async def test_whose_key_it_is_not(api: httpx.AsyncClient) -> None:
    for key in ("bad", "x" * 5000):
        answer = await api.get("/api/v2/find_user", headers={"apikey": key})
        assert (answer.status_code, answer.json()["rc"]) == (404, "UserNotFound")
        assert len(answer.text) < 400
    answer = await api.get("/api/v2/find_user")
    assert (answer.status_code, answer.json()["rc"]) == (401, "InvalidAPIKey")


async def test_totals_are_this_nodes(api: httpx.AsyncClient, node: FakeNode) -> None:
    await paint(api, node)
    totals = (await api.get("/api/v2/stats/img/totals")).json()
    assert set(totals) == {"minute", "hour", "day", "month", "total"}
    assert totals["total"] == {"images": 1, "ps": 512 * 512 * 20}
    assert (await api.get("/api/v2/stats/img/models?model_state=known")).json()["total"] == {"sd15": 1}
    assert (await api.get("/api/v2/stats/text/totals")).json()["day"] == {"requests": 0, "tokens": 0}
    assert (await api.get("/api/v2/stats/text/models")).json() == {"day": {}, "month": {}, "total": {}}


async def test_documents_and_empty_lists(api: httpx.AsyncClient) -> None:
    for name in ("privacy", "terms", "sponsors"):
        assert (await api.get(f"/api/v2/documents/{name}")).json()["html"].startswith("<p>")
        assert "<" not in (await api.get(f"/api/v2/documents/{name}?format=markdown")).json()["markdown"]
    for path in ("teams", "styles/image", "styles/text", "collections"):
        assert (await api.get(f"/api/v2/{path}")).json() == []
        assert (await api.get(f"/api/v2/{path}/{uuid.UUID(int=0)}")).status_code == 404
    assert (await api.get("/api/v2/styles/image_by_name/x")).json()["rc"] == "StyleNotFound"
    assert (await api.get("/api/v2/collection_by_name/x")).json()["rc"] == "CollectionNotFound"
    assert (await api.get("/api/v2/workers/messages", headers=OWN)).json() == []


@pytest.mark.parametrize(
    ("method", "path", "status", "rc"),
    [
        ("GET", "filters", 403, "NotModerator"),
        ("PUT", "operations/block_worker_ipaddr/x", 403, "NotModerator"),
        ("DELETE", "operations/ipaddr", 403, "NotModerator"),
        ("POST", "kudos/award", 403, "NotAllowedAwards"),
        ("POST", "teams", 403, "UntrustedTeamCreation"),
        ("PUT", "users/1", 403, "NotPrivileged"),
        ("POST", "styles/image", 403, "StylesRequiresCustomizer"),
        ("DELETE", "styles/text/1/example/2", 403, "StylesRequiresCustomizer"),
        ("POST", "workers/messages", 403, "NotModerator"),
    ],
)
async def test_what_needs_a_role(api: httpx.AsyncClient, method: str, path: str, status: int, rc: str) -> None:
    answer = await api.request(method, f"/api/v2/{path}", headers=OWN, json={})
    assert (answer.status_code, answer.json()["rc"]) == (status, rc)
    missing = await api.request(method, f"/api/v2/{path}", json={})
    assert (missing.status_code, "apikey" in missing.json()["errors"]) == (400, True)
    assert (await api.request(method, f"/api/v2/{path}", headers={"apikey": "bad"}, json={})).json()["rc"] == "InvalidAPIKey"


async def test_modes_can_not_be_set(api: httpx.AsyncClient) -> None:
    answers = [
        await api.put("/api/v2/status/modes", json=body, headers=OWN) for body in ({"maintenance": True}, {"raid_mode": True})
    ]
    assert [(answer.status_code, answer.json()["rc"]) for answer in answers] == [(400, "NoHordeModSelected"), (403, "NotAdmin")]


async def transfer(api: httpx.AsyncClient, name: str, amount: Any = 5, **headers: str) -> httpx.Response:
    return await api.post("/api/v2/kudos/transfer", json={"username": name, "amount": amount}, headers=OWN | headers)


async def test_kudos_are_given_to_an_account(api: httpx.AsyncClient, node: FakeNode) -> None:
    bob = People(node).users()[1]
    assert (await transfer(api, bob.username)).json() == {"transferred": 5.0}
    assert node.credit.said == [("tip", BOB.public_key, 5000, "tip", b"")]
    for _ in range(2):
        assert (await transfer(api, bob.username, 7, **{"idempotency-key": "k"})).json() == {"transferred": 7.0}
    assert len(node.credit.said) == 2
    node.credit.refusal = "no other peer has confirmed"
    refused = await transfer(api, bob.username, 8, **{"idempotency-key": "l"})
    assert (refused.status_code, refused.json()["rc"]) == (400, "KudosTransferNotEnough")
    node.credit.refusal = ""
    assert (await transfer(api, bob.username, 8, **{"idempotency-key": "l"})).status_code == 200


async def test_kudos_that_are_not_given(api: httpx.AsyncClient, node: FakeNode) -> None:
    people = People(node)
    bob, own = people.users()[1], people.owner
    for name, amount, rc in (
        (own.username, 5, "KudosTransferToSelf"),
        ("nobody#99", 5, "InvalidTargetUsername"),
        (f"alice#{bob.id}", 5, "InvalidTargetUsername"),
        ("Anonymous#0", 5, "KudosTransferToAnon"),
        (bob.username, 0, "NegativeKudosTransfer"),
        (bob.username, -5, "NegativeKudosTransfer"),
    ):
        answer = await transfer(api, name, amount)
        assert (answer.status_code, answer.json()["rc"]) == (400, rc)
    for bad in ("5", 1.5, None, 2**60, True):
        assert "amount" in (await transfer(api, bob.username, bad)).json()["errors"]
    anonymous = await transfer(api, bob.username, 5, apikey="0000000000")
    assert (anonymous.status_code, anonymous.json()["rc"]) == (403, "AnonForbidden")
    assert not node.credit.said


async def test_two_of_one_name_get_nothing(api: httpx.AsyncClient, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """31 bits can be found by trying: a name that two accounts bear is nobody's."""
    monkeypatch.setattr("meshgen.gateway.horde.people.user_id", lambda account: 5)
    monkeypatch.setattr(node, "peers", lambda: [BOB_ROW, BOB_ROW | {"peer_id": peer_of(7)}])
    assert (await transfer(api, "bob#5")).json()["rc"] == "InvalidTargetUsername"
    assert not node.credit.said
