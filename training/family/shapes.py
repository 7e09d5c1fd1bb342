"""Sizes and budgets of the language models. Cost on a CPU is per layer, so the draft is shallow and the target deep."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import LlamaConfig

from training.family.tokenizer import VOCABULARY


@dataclass(frozen=True)
class Shape:
    """One language model to be pretrained."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    tokens: int
    """Training budget in tokens (padding not counted)."""
    seed: int
    learning_rate: float = 4e-3
    start: str | None = None
    """The model whose lower layers and embeddings it starts from."""

    def config(self, **ids: int) -> LlamaConfig:
        """The transformers configuration; `ids` are the special token ids."""
        return LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=self.hidden,
            intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=64,
            max_position_embeddings=1024,
            rope_theta=10_000.0,
            tie_word_embeddings=True,
            **ids,
        )


SHAPES = {
    "draft": Shape(layers=2, hidden=256, feed_forward=512, heads=4, kv_heads=2, tokens=4_500_000, seed=11),
    "target": Shape(layers=8, hidden=256, feed_forward=512, heads=4, kv_heads=2, tokens=17_500_000, seed=12),
    # What the PRM reads with: it is never shipped itself.
    "reader": Shape(
        layers=3, hidden=256, feed_forward=512, heads=4, kv_heads=2, tokens=9_000_000, seed=13, start="target"
    ),
}
