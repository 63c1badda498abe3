"""One loop writes with models of all kinds: positions learnt or turned, windows that slide, layers that keep a state."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

from meshgen.engine.port import TextWork
from meshgen.engine.text import writing
from meshgen.engine.text.causal import Causal
from meshgen.engine.text.writing import Writing
from tests.engine.text.tiny_models import LETTERS, byte_tokenizer

pytestmark = pytest.mark.torch
TOKENS = 24
PROMPT = "the cat sat on the mat"
BASE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "GPT2LMHeadModel": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "MistralForCausalLM": {**BASE, "sliding_window": 8},
    "BloomForCausalLM": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "Qwen2MoeForCausalLM": {
        **BASE, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
    },
    "Lfm2ForCausalLM": {**BASE, "full_attn_idxs": [1]},
}  # fmt: skip


def causal_of(kind: str) -> Causal:
    tokenizer = byte_tokenizer(LETTERS)
    made = getattr(transformers, kind, None)
    if made is None:
        pytest.skip(f"this transformers has no {kind}")
    torch.manual_seed(1)
    net = made(made.config_class(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1, **KINDS[kind])).eval()
    for parameter in net.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.3)
    return Causal(net, tokenizer, 64, frozenset([1]), len(tokenizer), 0, {})


@pytest.mark.parametrize("prefill", [512, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_it_writes_what_transformers_writes(kind: str, prefill: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "PREFILL", prefill)
    causal, answers = causal_of(kind), {}

    def tell(what: str, **fields: Any) -> None:
        if what == "answer":
            answers[fields["index"]] = fields["data"].decode()

    prompt = causal.read(PROMPT)
    with torch.inference_mode():
        ids = torch.tensor([prompt])
        mask = torch.ones_like(ids)
        expected = causal.net.generate(ids, attention_mask=mask, max_new_tokens=TOKENS, do_sample=False, pad_token_id=1)
        work = TextWork("tiny", PROMPT, TOKENS, (1, 2, 3), temperature=0)
        assert Writing(causal, work, tell, lambda: False).write([0, 1, 2])
    text = causal.decode(expected[0, len(prompt) :].tolist())
    assert text and answers == {0: text, 1: text, 2: text}
