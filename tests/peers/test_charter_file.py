"""Charters as YAML: read back to the same bytes, and refused in words that help."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.identity import Identity
from meshgen.peers.charter_file import MAX_TEXT_BYTES, CharterError, parse_charter, parse_tariff
from meshgen.peers.charter_text import render_charter
from meshgen.protocols.charter import Charter, CharterLimits, CharterPolicies, SignedCharter, Tariff
from tests.conformance.samples import SAMPLES, WORKER
from tests.protocols.charter_vectors import BOTH, signed

ADDRESS = "/ip4/192.0.2.7/tcp/4711/p2p/" + WORKER.peer_id
people = st.integers(0, 40).map(lambda number: Identity.from_seed(bytes([number]) * 32))
ascii_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80)


@st.composite
def charters(draw: st.DrawFn) -> Charter:
    delegates = tuple(sorted({who.public_key for who in draw(st.lists(people, max_size=5))}))
    version = draw(st.integers(0, 255))
    return Charter(
        name=draw(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,63}", fullmatch=True)),
        version=version,
        parent=draw(st.binary(min_size=32, max_size=32)) if version else b"",
        about=draw(ascii_text),
        delegates=delegates,
        threshold=draw(st.integers(1, len(delegates))) if delegates else 0,
        bootstrap=draw(st.sampled_from([(), (ADDRESS,)])),
        treasury=draw(st.sampled_from([b"", WORKER.public_key])),
        tariff=Tariff(step_mkudos=draw(st.integers(0, 10**6)), families_permille=(1, 2, 3, 4, 5)),
        limits=CharterLimits(max_hold_mkudos=draw(st.integers(1, 2**40))),
        policies=CharterPolicies(declines=draw(st.sampled_from([(), ("no-nsfw", "no: such # thing"), ("-", "null")]))),
        members=draw(st.sampled_from(["open", "listed"])) if delegates else "open",
        roll_threshold=draw(st.integers(1, max(1, len(delegates)))),
        relay_gib_mkudos=draw(st.integers(0, 10**6)),
    )


@given(charters(), st.lists(people, max_size=3))
def test_what_is_written_reads_back_to_the_same_bytes(charter: Charter, signers: list[Identity]) -> None:
    document = signed(charter, *signers)
    assert parse_charter(render_charter(document)) == document


def test_comments_and_order_change_nothing_of_the_hash() -> None:
    text = render_charter(signed(BOTH, WORKER))
    document = parse_charter(text)
    bare = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    start = bare.index("tariff:")
    turned = "\n".join([*bare[start:], "# a comment", *reversed(bare[:start])])
    assert turned.index("name:") > turned.index("tariff:")
    assert parse_charter(turned) == document
    first, second = (peer for peer in text.split("delegates: [")[1].split("]")[0].split(", "))
    assert parse_charter(text.replace(f"[{first}, {second}]", f"[{second}, {first}]")) == document


def test_what_is_left_out_has_its_default() -> None:
    assert parse_charter("name: ours").charter == Charter("ours")
    factors = parse_charter("name: ours\ntariff:\n  families_permille: {flux: 9000}\n").charter.tariff.families_permille
    assert factors == (1000, 2000, 2000, 9000, 1000)


def test_yamls_own_types_play_no_part() -> None:
    found = parse_charter("name: no\nabout: 1:30\ntreasury:\ntariff: {step_mkudos: '90', lora_mkudos: 010}").charter
    assert (found.name, found.about, found.tariff.step_mkudos, found.tariff.lora_mkudos) == ("no", "1:30", 90, 10)


BAD = {
    "nothing": ("", "holds no keys"),
    "a list": ("- a", "holds no keys"),
    "no name": ("about: x", "name: is missing"),
    "an unknown key": ("name: x\ntarif: {}", "tarif: there is no such key; did you mean 'tariff'?"),
    "an unknown key inside": (
        "name: x\ntariff: {step_mkudo: 1}",
        "tariff.step_mkudo: there is no such key; did you mean 'step_mkudos'?",
    ),
    "an unknown family": ("name: x\ntariff: {families_permille: {sd: 1}}", "did you mean 'sd3'?"),
    "a key twice": ("name: x\nname: y", "line 2.*'name' stands here a second time"),
    "a list as key": ("? [a]\n: b", "is none"),
    "an anchor": ("name: &a x", "line 1: anchors"),
    "an alias": ("name: x\nabout: *a", "line 2: anchors"),
    "a merge": ("name: x\n<<: {about: y}", "no such key"),
    "a tag": ("name: !!python/object/apply:os.system [ls]", "line 1: tags"),
    "a tag that is harmless": ("name: !!str x", "line 1: tags"),
    "half a document": ("name: [", "not valid YAML"),
    "two documents": ("name: x\n---\nname: y", "not valid YAML"),
    "a control character": ("name: x\x00", "not valid YAML"),
    "a fraction": ("name: x\ntariff: {step_mkudos: 1.5}", "tariff.step_mkudos: '1.5' is not a whole number"),
    "a negative": ("name: x\ntariff: {step_mkudos: -1}", "is not a whole number"),
    "a word": ("name: x\ntariff: {step_mkudos: cheap}", "is not a whole number"),
    "a number of many digits": ("name: x\ntariff: {step_mkudos: " + "9" * 5000 + "}", "is not a whole number"),
    "above": (
        "name: x\ntariff: {step_mkudos: 1000001}",
        "^ours: tariff.step_mkudos: 1000001 is not an integer from 0 to 1000000",
    ),
    "a list for a number": ("name: x\nthreshold: [1]", "threshold: a single value"),
    "a value for a section": ("name: x\nlimits: 3", "limits: its keys belong below it"),
    "a value for a list": ("name: x\ndelegates: me", "delegates: a list"),
    "no peer id": ("name: x\ndelegates: [me]\nthreshold: 1", "delegates: 'me' is no peer id"),
    "a delegate twice": (f"name: x\ndelegates: [{WORKER.peer_id}, {WORKER.peer_id}]", "delegates: something stands there twice"),
    "too many must sign": ("name: x\nthreshold: 2", "^ours: threshold: 2 of 0 delegates can't sign"),
    "an address without peer": ("name: x\nbootstrap: [/ip4/192.0.2.7/tcp/1]", "bootstrap: .* must end with /p2p/"),
    "a parent that is no hash": ("name: x\nversion: 1\nparent: abc", "parent: 64 hex digits"),
    "a version without parent": ("name: x\nversion: 1", "^ours: parent: version 0 has none"),
    "all paused": ("name: x\npolicies: {declines: [paused]}", "^ours: policies.declines: `paused`"),
    "not ASCII": ("name: x\nabout: größer", "^ours: about: a text is not printable ASCII"),
    "a name with look-alikes": ("name: оurs", "^ours: name: "),
    "a signature by nobody": ("name: x\nsignatures: {me: ab}", "signatures: 'me' is no peer id"),
    "half a signature": (f"name: x\nsignatures: {{{WORKER.peer_id}: ab}}", "128 hex digits"),
    "signatures in a list": ("name: x\nsignatures: [a]", "a signature for each peer id"),
    "too long": ("name: x\n#" + "x" * MAX_TEXT_BYTES, f"longer than {MAX_TEXT_BYTES}"),
    "a bomb of depth": ("name: " + "[" * 30_000, "nested deeper"),
    "a bomb of mappings": ("{a: " * 5_000, "nested deeper"),
    "a bomb of aliases": ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", "anchors"),
}


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(CharterError, match=words):
        parse_charter(text, "ours")


@given(st.text(max_size=200) | st.text("nameb:{}[],&*!|>-# \n\t'\"0123", max_size=200))
def test_any_text_is_a_charter_or_an_error_in_words(text: str) -> None:
    try:
        parse_charter(f"name: x\n{text}")
    except CharterError as error:
        assert str(error).startswith("charter")


def test_a_tariff_of_some_keys() -> None:
    assert parse_tariff({"step_mkudos": "7"}) == {"step_mkudos": 7}
    with pytest.raises(CharterError, match=r"tariff\.steps: there is no such key"):
        parse_tariff({"steps": "7"})


def test_the_sample_is_readable() -> None:
    text = render_charter(SAMPLES[SignedCharter])  # type: ignore[arg-type]
    assert f"  {WORKER.peer_id}: " in text and "step_mkudos: 90" in text
    assert max(map(len, text.splitlines())) < 220
    assert replace(parse_charter(text).charter, about="") != SAMPLES[Charter]
