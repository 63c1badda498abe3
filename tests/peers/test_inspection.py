"""A picture's own words tell what was paid for it, so that it can be told from one that was not."""

from __future__ import annotations

import hashlib
import json

import trio
import trio.testing

from meshgen.peers.assignment import Assignment
from meshgen.peers.inspection import Paid, finish
from meshgen.peers.job import Job, Part
from meshgen.peers.request import ImageRequest
from meshgen.pictures import bare, text_of, with_text
from meshgen.protocols.advert import ModelAdvert
from meshgen.protocols.credit import Receipt, decode_entry, result_commitment
from meshgen.testing import pictures_of, virtual_mesh
from tests.test_pictures import png

MODEL = ModelAdvert("sd15", bytes(32), "sd1", 512, 2**20, (), 100)


def words_of(data: bytes) -> dict[str, object]:
    return json.loads(text_of(data)["meshgen"])


async def test_a_paid_picture_opens_its_receipt(autojump_clock: trio.testing.MockClock) -> None:
    async with virtual_mesh() as mesh:
        await mesh.worker("drawer")
        asker = await mesh.requester()
        job = await pictures_of(asker, count=3)
        mine = asker.identity.public_key
        entries = [decode_entry(wire) for wire in asker.ledger.entries(mine, 1, 99)]
        receipts = {entry.id.hex(): entry.content for entry in entries if isinstance(entry.content, Receipt)}
        for picture in job.results.values():
            words = words_of(picture.data)
            opened = [(bytes.fromhex(salt), bytes.fromhex(digest)) for salt, digest in words["opened"]]  # type: ignore[attr-defined]
            assert result_commitment(opened) == receipts[str(words["receipt"])].result
            assert hashlib.sha256(bare(picture.data)).digest() in [digest for _, digest in opened]


def test_what_can_not_be_shown_is_not_claimed() -> None:
    """A worker that puts words into its picture commits to a file that its requester does not keep."""
    sent = with_text(png(), {"Comment": "drawn by me"})
    job = Job("job", ImageRequest(prompt="x"), created_ms=0, model="sd15", width=16, height=8, seed=1)
    paid = Paid(bytes(32), ((bytes(16), hashlib.sha256(sent).digest()),))
    assignment = Assignment(job.request, MODEL, 16, 8, (), {})
    words = words_of(finish(sent, 1, job, assignment, Part("peer", "bob", (0,), 1), paid))
    assert words["receipt"] == "00" * 32 and "opened" not in words
