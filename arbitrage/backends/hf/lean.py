"""The forward pass of Llama-shaped models over any number of sequences at once, written for few tokens at a time.

At batch 1 a small model spends most of its time between the operations, not in them. Here a layer is some twenty
operations on tensors of shape (tokens, width), the tokens of all sequences packed one behind the other; only attention
looks at one sequence at a time, so that sequences of any lengths go together without padding. Same function as the
module it was made from; `LeanDecoder.of` compares the two before it agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from arbitrage.backends.hf.key_values import KeyValues
from arbitrage.backends.hf.linear import Opaque, Packed, Product, Stacked, join

_KINDS = {"llama", "mistral", "qwen2"}
"""`model_type` of the configurations that this forward pass knows."""
_ROTATIONS = {"default", "linear", "llama3", "yarn"}
"""Kinds of rotary embedding whose angles depend on the position alone."""
_PACKED_UP_TO = 200_000_000
"""Parameters of models whose weights are copied into faster layouts."""
_LONGEST = 512
"""Tokens of one sequence that are encoded at once: bounds the memory of attention scores."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Tokens to be encoded after what one sequence holds."""

    ids: Sequence[int]
    """At least one token."""
    cache: KeyValues
    keep: int
    """How many of the last positions' outputs are wanted, 1..len(ids)."""
    best: bool = False
    """Whether only the best of the outputs at each of them is."""


@dataclass(frozen=True, slots=True)
class _Layer:
    before: Callable[[Tensor], Tensor]
    """Norm in front of attention."""
    qkv: Product
    out: Product
    between: Callable[[Tensor], Tensor]
    """Norm in front of the feed-forward part."""
    gate_up: Product
    down: Product


class LeanDecoder:
    """The weights of one module and its forward pass."""

    def __init__(self, module: Any, packed: bool = True) -> None:
        """Take over `module`, of which `fits` is true; `packed` allows the copy into faster layouts."""
        config = module.config
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._width = getattr(config, "head_dim", None) or config.hidden_size // self._heads
        self._embedding = module.model.embed_tokens.weight.detach()
        self._dtype, self._device = self._embedding.dtype, self._embedding.device
        parameters = sum(p.numel() for p in module.parameters())
        simple = all(type(layer) is nn.Linear for block in module.model.layers for layer in _projections(block))
        on_cpu = self._device.type == "cpu" and self._dtype == torch.float32
        self.packed = packed and simple and on_cpu and parameters <= _PACKED_UP_TO
        """Whether weights were copied into faster layouts."""
        self._rotary = module.model.rotary_emb
        self._cos = self._sin = torch.empty(0)
        self._later = torch.empty(0)
        self._layers = [self._read(layer) for layer in module.model.layers]
        head = module.score if hasattr(module, "score") else module.lm_head
        first, *rest = head if isinstance(head, nn.Sequential) else [head]
        product = self._product([first], module.model.norm)
        self._last, self._head = self._norm(module.model.norm), Stacked(product, rest) if rest else product

    @staticmethod
    def of(module: Any) -> LeanDecoder | None:
        """The lean forward pass of `module`; None where it is not known to be the same function."""
        if not fits(module):
            return None
        try:
            lean = LeanDecoder(module)
            return lean if _agree(lean, module) else None
        except (RuntimeError, TypeError, ValueError, NotImplementedError):  # weights of some other kind
            return None

    def new_cache(self) -> KeyValues:
        """An empty sequence."""
        return KeyValues(len(self._layers), self._kv_heads, self._width, self._dtype, self._device)

    def run(self, passes: Sequence[Pass]) -> list[Tensor]:
        """Encode the tokens of each pass.

        Returns:
            For each pass the outputs at its last `keep` positions, shape (keep, outputs).
        """
        kept: list[list[Tensor]] = [[] for _ in passes]
        longest = max(len(one.ids) for one in passes)
        with torch.inference_mode():
            for start in range(0, longest, _LONGEST):
                parts = []
                for i, one in enumerate(passes):
                    ids = one.ids[start : start + _LONGEST]
                    if ids:
                        left = len(one.ids) - start - len(ids)
                        parts.append((i, Pass(ids, one.cache, min(len(ids), max(0, one.keep - left)))))
                for (i, part), rows in zip(parts, self._forward([part for _, part in parts]), strict=True):
                    if part.keep:
                        kept[i].append(rows)
        return [rows[0] if len(rows) == 1 else torch.cat(rows) for rows in kept]

    def _forward(self, passes: list[Pass]) -> list[Tensor]:
        spans, at = [], 0
        for one in passes:
            start, count = one.cache.length, len(one.ids)
            end = start + count
            one.cache.reserve(end)
            views = one.cache.views(start, end)
            spans.append(_Span(one.cache, at, at + count, start, end, *views, self._mask(start, count)))
            at += count
        ids = passes[0].ids if len(passes) == 1 else [token for one in passes for token in one.ids]
        cos, sin = self._angles(spans)
        # One token of each sequence is what decoding is; it is worth a way of its own.
        attend = self._attend_single if self.packed and at == len(spans) else self._attend

        def attend_all(index: int, qkv: Tensor) -> Tensor:
            return attend(index, qkv, spans)

        x = self._through(torch.tensor(ids, device=self._device), cos, sin, attend_all)
        for span in spans:
            span.cache.length = span.end
        wanted = [one.keep for one in passes]
        if not any(wanted):
            return [x[:0]] * len(passes)
        if len(passes) == 1:
            return [self.read_out(x[at - wanted[0] :])]
        chosen = torch.cat([x[span.last - keep : span.last] for span, keep in zip(spans, wanted, strict=True)])
        return list(torch.split(self.read_out(chosen), wanted))

    def static_pass(self, held: KeyValues, ids: Tensor, positions: Tensor) -> Tensor:
        """A pass of one sequence whose tensors have the same shapes and addresses every time: what a graph can record.

        Attention reads the whole buffer of `held` and ignores what lies behind each position; the buffer must have
        been zeroed when it was made, and have room. `held.length` is left to the caller.

        Args:
            held: the sequence.
            ids: shape (tokens,).
            positions: their places, shape (tokens,).

        Returns:
            Outputs at all places, shape (tokens, outputs).
        """
        hidden = torch.arange(held.capacity, device=self._device) > positions[:, None]  # (tokens, capacity)
        mask = torch.zeros_like(hidden, dtype=self._dtype).masked_fill_(hidden, -torch.inf)
        if self.packed:
            mask = self._for_each_query(mask)

        def attend(index: int, qkv: Tensor) -> Tensor:
            kv = held.layers[index]
            kv.index_copy_(1, positions, qkv[:, self._heads :].transpose(0, 1))
            keys, values = kv[: self._kv_heads], kv[self._kv_heads :]
            return (self._mix if self.packed else self._fused)(qkv, keys, values, mask)

        cos, sin = (table.index_select(0, positions) for table in self.prepare(held.capacity))
        return self.read_out(self._through(ids, cos, sin, attend))

    def read_out(self, x: Tensor) -> Tensor:
        """Outputs from hidden states, shape (tokens, hidden) to (tokens, outputs)."""
        return self._head(self._last(x))

    def _through(self, ids: Tensor, cos: Tensor, sin: Tensor, attend: Callable[[int, Tensor], Tensor]) -> Tensor:
        """All layers; `attend` stores keys and values of a layer and mixes, (tokens, heads, width) to (tokens, …)."""
        x = functional.embedding(ids, self._embedding)
        rotated, tokens = self._heads + self._kv_heads, ids.shape[0]
        for index, layer in enumerate(self._layers):
            qkv = layer.qkv(layer.before(x)).view(tokens, -1, self._width)
            qk = qkv[:, :rotated]
            turned = qk.roll(self._width // 2, -1)
            qk.mul_(cos).addcmul_(turned, sin)
            x = layer.out.onto(attend(index, qkv), x)
            gate, up = layer.gate_up(layer.between(x)).chunk(2, -1)
            x = layer.down.onto(functional.silu(gate).mul_(up), x)
        return x

    def _attend_single(self, index: int, qkv: Tensor, spans: Sequence[_Span]) -> Tensor:
        """Attention where every sequence has one new token: what can be cut for all at once is."""
        fresh = qkv[:, self._heads :].unsqueeze(2).unbind(0)
        queries = qkv[:, : self._heads].view(len(spans), self._kv_heads, -1, self._width).unbind(0)
        mixed = []
        for span, new, query in zip(spans, fresh, queries, strict=True):
            span.room[index].copy_(new)
            weights = torch.softmax(torch.bmm(query, span.keys[index].transpose(1, 2)), -1)
            mixed.append(torch.bmm(weights, span.values[index]))
        return mixed[0].view(1, -1) if len(mixed) == 1 else torch.stack(mixed).view(len(mixed), -1)

    def _attend(self, index: int, qkv: Tensor, spans: Sequence[_Span]) -> Tensor:
        """Attention of any number of new tokens of each sequence."""
        mix, mixed = self._mix if self.packed else self._fused, []
        for span in spans:
            part = qkv if len(spans) == 1 else qkv[span.first : span.last]
            span.room[index].copy_(part[:, self._heads :].transpose(0, 1))
            mixed.append(mix(part, span.keys[index], span.values[index], span.mask))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def _mix(self, qkv: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """Values mixed by attention of packed queries, which come scaled; shape (count, heads * width).

        Args:
            qkv: the queries come first in it, shape (count, all heads, width).
            keys: shape (key-value heads, positions, width).
            values: likewise.
            mask: added to the scores, shape (1, count * queries a key-value head, positions); None adds nothing.
        """
        count, groups = qkv.shape[0], self._heads // self._kv_heads
        if count == 1:
            queries = qkv[0, : self._heads].view(self._kv_heads, groups, self._width)
        else:
            split = qkv[:, : self._heads].view(count, self._kv_heads, groups, self._width)
            queries = split.transpose(0, 1).reshape(self._kv_heads, count * groups, self._width)
        turned = keys.transpose(1, 2)
        scores = torch.bmm(queries, turned) if mask is None else torch.baddbmm(mask, queries, turned)
        mixed = torch.bmm(torch.softmax(scores, -1), values)
        if count == 1:
            return mixed.view(1, -1)
        return mixed.view(self._kv_heads, count, groups, self._width).transpose(0, 1).reshape(count, -1)

    def _fused(self, qkv: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """As `_mix`, by torch's own kernel: any precision, no scores in memory; `mask`: shape (tokens, positions)."""
        queries = qkv[None, :, : self._heads].transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(
            queries, keys[None], values[None], attn_mask=mask, enable_gqa=self._heads != self._kv_heads
        )
        return mixed[0].transpose(0, 1).reshape(qkv.shape[0], -1)

    def _mask(self, start: int, count: int) -> Tensor | None:
        """What each of `count` new tokens must not see, to be added to its scores; None for one token."""
        if count == 1:
            return None
        if self._later.shape[-1] < count:
            self._later = torch.full((_LONGEST, _LONGEST), -torch.inf, dtype=self._dtype, device=self._device).triu_(1)
        mask = torch.cat([self._later.new_zeros(count, start), self._later[:count, :count]], -1)
        return self._for_each_query(mask) if self.packed else mask

    def _for_each_query(self, mask: Tensor) -> Tensor:
        """A mask a token, shape (tokens, positions), as `_mix` wants it."""
        return mask.repeat_interleave(self._heads // self._kv_heads, 0)[None]

    def _angles(self, spans: Sequence[_Span]) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine at the position of each new token, shape (tokens, 1, width)."""
        self.prepare(max(span.end for span in spans))
        if len(spans) == 1:
            start, end = spans[0].start, spans[0].end
            return self._cos[start:end], self._sin[start:end]
        where = torch.tensor([p for span in spans for p in range(span.start, span.end)], device=self._device)
        return self._cos[where], self._sin[where]

    def prepare(self, positions: int) -> tuple[Tensor, Tensor]:
        """Have the angles of so many positions at hand: cosine and signed sine, shape (positions or more, 1, width)."""
        if positions > len(self._cos):
            places = torch.arange(max(256, 2 * positions), device=self._device)[None]
            cos, sin = (table[0].unsqueeze(1) for table in self._rotary(self._embedding, places))
            half = self._width // 2
            self._cos, self._sin = cos, torch.cat([-sin[..., :half], sin[..., half:]], -1)
        return self._cos, self._sin

    def _read(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        first, second = layer.input_layernorm, layer.post_attention_layernorm
        scaled = self._heads * self._width if self.packed else 0
        return _Layer(
            before=self._norm(first),
            qkv=self._product([attention.q_proj, attention.k_proj, attention.v_proj], first, scaled),
            out=self._product([attention.o_proj]),
            between=self._norm(second),
            gate_up=self._product([mlp.gate_proj, mlp.up_proj], second),
            down=self._product([mlp.down_proj]),
        )

    def _norm(self, norm: Any) -> Callable[[Tensor], Tensor]:
        """Root mean square norm. Packed, without its weights, which are in the product behind it."""
        weight, epsilon = norm.weight.detach(), norm.variance_epsilon
        if not self.packed:
            return lambda x: functional.rms_norm(x, weight.shape, weight, epsilon)
        # x / sqrt(mean(x²) + ε) = √n · x / sqrt(|x|² + nε); the factor √n is in the product behind it too.
        floor = torch.tensor((weight.numel() * epsilon) ** 0.5)
        return lambda x: x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), floor)

    def _product(self, layers: Sequence[Any], norm: Any = None, scaled: int = 0) -> Product:
        """One product for `layers`.

        Args:
            layers: with the same input.
            norm: what stands in front of them.
            scaled: leading outputs that are queries, to be scaled for attention.
        """
        if not all(type(layer) is nn.Linear for layer in layers):
            return Opaque(layers)
        joined = join(layers)
        if not self.packed:
            return joined
        weight, bias = joined.weight.clone(), None if joined.bias is None else joined.bias.clone()
        if norm is not None:
            weight *= norm.weight.detach() * norm.weight.numel() ** 0.5
        if scaled:
            weight[:scaled] *= self._width**-0.5
            if bias is not None:
                bias[:scaled] *= self._width**-0.5
        return Packed(weight, bias)


@dataclass(frozen=True, slots=True)
class _Span:
    """Where the new tokens of one sequence stand: among those of all sequences, and in their own."""

    cache: KeyValues
    first: int
    last: int
    start: int
    end: int
    room: Sequence[Tensor]
    """By layer: where the keys and values of the new tokens go, shape (2 heads, new, width)."""
    keys: Sequence[Tensor]
    """By layer: all up to the newest, shape (heads, end, width)."""
    values: Sequence[Tensor]
    mask: Tensor | None


def _projections(block: Any) -> list[Any]:
    """All matrix products of one layer."""
    attention, mlp = block.self_attn, block.mlp
    return [
        attention.q_proj,
        attention.k_proj,
        attention.v_proj,
        attention.o_proj,
        mlp.gate_proj,
        mlp.up_proj,
        mlp.down_proj,
    ]


def _patched(part: nn.Module) -> bool:
    """Whether somebody has changed what this part computes: hooks, or a `forward` of its own."""
    return bool(part._forward_hooks or part._forward_pre_hooks) or "forward" in part.__dict__


def fits(module: Any) -> bool:
    """Whether `module` is of a kind that the lean forward pass knows."""
    config = module.config
    rope = getattr(config, "rope_parameters", None) or {}
    windows = getattr(config, "layer_types", None) or []
    return (
        config.model_type in _KINDS
        and type(module).__name__.endswith(("ForCausalLM", "ForTokenClassification", "ForProcessRewardModel"))
        and rope.get("rope_type", "default") in _ROTATIONS
        and getattr(config, "hidden_act", "") == "silu"
        and all(kind == "full_attention" for kind in windows)
        and (config.model_type == "qwen2" or getattr(config, "sliding_window", None) is None)
        and not any(_patched(part) for part in module.modules())
        and len({parameter.device for parameter in module.parameters()}) == 1
    )


def _agree(lean: LeanDecoder, module: Any) -> bool:
    """Whether both give the same outputs for a few tokens, up to rounding.

    In half precision the module itself moves when the same tokens come in other pieces (Qwen2.5-Coder 0.5B and 1.5B in
    bfloat16 on a CPU: by 0.01 to 0.02 standard deviations on average, by 0.15 at the worst of a million outputs). So
    there the average is what tells.
    """
    ids = [(7 * i) % module.config.vocab_size for i in range(12)]
    cache = lean.new_cache()
    ours = torch.cat([lean.run([Pass(part, cache, len(part))])[0] for part in (ids[:9], ids[9:10], ids[10:])])
    with torch.inference_mode():
        theirs = module(input_ids=torch.tensor([ids], device=module.device), use_cache=False).logits[0]
    exact = theirs.dtype == torch.float32
    off, scale = (ours.float() - theirs.float()).abs(), float(theirs.float().std()) + 1e-6
    return bool(off.max() <= 1e-3 * scale if exact else off.square().mean().sqrt() <= 0.05 * scale)
