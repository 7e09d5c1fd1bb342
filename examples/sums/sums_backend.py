"""A backend without weights: models that read a sum of numbers and add them up, one addition a step.

`adder:careful` is always right. `adder:careless` forgets carries. Both are real language models in the sense of
`arbitrage`: they give logits for every position, and their cache can be rolled back exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from arbitrage import Backend, Capability, LanguageModel, Role, StepScorer, TextCodec, hookimpl
from arbitrage.backends.cached import CachedLanguageModel
from arbitrage.errors import CapabilityError, ModelLoadError
from arbitrage.hooks import Register
from arbitrage.interfaces import BackendFacts

EOS = 256
VOCABULARY = 257
SURE, UNSURE = 0.95, 0.6
"""Probability of the token that a model writes: unsure after foreign text, and where the careless one drops a carry."""


@hookimpl
def register_backends(register: Register) -> None:
    """Offer the backend as `--draft adder:careless --target adder:careful`."""
    register("adder", "sums_backend:AdderBackend", summary="models that add numbers by rules, without weights")


class ByteCodec(TextCodec):
    """One token per byte of UTF-8, and one that ends a sequence."""

    @property
    def eos_ids(self) -> frozenset[int]:
        """The one end of sequence."""
        return frozenset({EOS})

    def encode(self, text: str) -> list[int]:
        """Bytes. The name of the end of sequence is ordinary text here, so nobody can end a sequence by writing it."""
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        """Text of the bytes; a character that was cut becomes a question mark in a diamond."""
        return bytes(i for i in ids if i != EOS).decode(errors="replace")

    def piece(self, token: int) -> str:
        """Text of one token; only line ends have to be right."""
        return "" if token == EOS else bytes([token]).decode(errors="replace")

    def render(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The conversation as these models read it."""
        return self.encode("".join(f"{message['content']}\n" for message in messages) + "A: ")

    def vocabulary(self) -> Mapping[str, int]:
        """Names of all tokens. Two models share a tokenizer when these are equal."""
        return {**{f"<0x{i:02X}>": i for i in range(256)}, "<eos>": EOS}


class AdderCache:
    """What is encoded so far. A neural network keeps keys and values of these positions; an adder keeps the tokens."""

    def __init__(self, model: Adder) -> None:
        self._model, self._ids = model, list[int]()

    @property
    def length(self) -> int:
        """Positions held."""
        return len(self._ids)

    def forward(self, ids: Sequence[int], keep: int) -> NDArray[np.float32]:
        """Encode `ids`; logits after each of the last `keep` of them, shape (keep, vocabulary)."""
        self._ids.extend(ids)
        ends = range(len(self._ids) - keep + 1, len(self._ids) + 1)
        return np.stack([self._model.logits(self._ids[:end]) for end in ends])

    def truncate(self, length: int) -> None:
        """Forget everything from position `length` on."""
        del self._ids[length:]

    def close(self) -> None:
        """Free the memory."""
        self._ids.clear()


class Adder(CachedLanguageModel):
    """Adds the numbers of the problem from left to right and boxes the sum."""

    capabilities = frozenset({Capability.LOGITS, Capability.REWIND})

    def __init__(self, careful: bool) -> None:
        name = "careful" if careful else "careless"
        super().__init__(
            name, ByteCodec(), context_length=1024, instruction="", facts={"backend": "adder", "rules": "version 1"}
        )
        self._careful = careful

    def new_cache(self) -> AdderCache:
        """An empty cache for one sequence."""
        return AdderCache(self)

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits of the token after `ids`, shape (vocabulary,): nearly all mass on the one that the rules ask for."""
        token, confidence = self._next(self.codec.decode(ids))
        row = np.full(VOCABULARY, np.log((1 - confidence) / (VOCABULARY - 1)), dtype=np.float32)
        row[token] = np.log(confidence)
        return row

    def _next(self, text: str) -> tuple[int, float]:
        """The next token, and how sure the model is of it."""
        problem, _, written = text.rpartition("A: ")
        *done, current = written.split("\n\n")
        numbers = [int(number) for number in re.findall(r"\d+", problem)]
        if len(done) > max(len(numbers) - 1, 0):
            return EOS, SURE
        step, confidence = self._step(numbers, done)
        if not step.startswith(current):  # somebody else wrote something else: end the step
            return ord("\n"), UNSURE
        if len(current) < len(step):
            return step.encode()[len(current)], confidence if "=" in current else SURE
        return (EOS if "boxed" in step else ord("\n")), SURE

    def _step(self, numbers: Sequence[int], done: Sequence[str]) -> tuple[str, float]:
        """The next step after those that are done, whoever wrote them."""
        if not numbers:
            return "There is nothing to add.", SURE
        before = re.findall(r"\d+", done[-1]) if done else []
        total = int(before[-1]) if before else numbers[0]
        if len(done) == len(numbers) - 1:
            return f"The sum is \\boxed{{{total}}}.", SURE
        right, careless = total + numbers[len(done) + 1], without_carries(total, numbers[len(done) + 1])
        written = right if self._careful else careless
        return f"{total} + {numbers[len(done) + 1]} = {written}", SURE if written == right else UNSURE


def without_carries(a: int, b: int) -> int:
    """The sum digit by digit, every carry forgotten."""
    width = max(len(str(a)), len(str(b)))
    digits = ((int(x) + int(y)) % 10 for x, y in zip(str(a).zfill(width), str(b).zfill(width), strict=True))
    return int("".join(map(str, digits)))


class AdderBackend(Backend):
    """Loads adders by name."""

    name = "adder"
    facts = BackendFacts(
        reads="careful or careless",
        devices="CPU",
        capabilities=frozenset({Capability.LOGITS, Capability.REWIND}),
        scorers=False,
        together=False,
        bundled=(),
    )
    options = frozenset[str]()

    def language_model(self, source: str, device: str | None = None, **options: object) -> LanguageModel:
        """`careful` or `careless`."""
        if source not in ("careful", "careless"):
            raise ModelLoadError(f"there is no adder {source!r}; write adder:careful or adder:careless")
        return Adder(careful=source == "careful")

    def scorer(self, source: str, device: str | None = None, **options: object) -> StepScorer:
        """This backend has none."""
        raise CapabilityError("adder has no scorers; take sum-checker or carry-router")

    def bundled(self, role: Role, variant: str | None = None) -> str:
        """Nothing is bundled in this format, so `--backend adder` alone does not name models."""
        raise ModelLoadError("adder has no bundled models; write --draft adder:careless --target adder:careful")
