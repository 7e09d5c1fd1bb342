"""Everything the models say at a prefix, worked out once: both next steps, what draft, target and reader make of them.

All models are greedy, so a prefix has one answer; every policy that comes by gets the same one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.hf import HFCodec, StreamEncoder, StreamFormat
from arbitrage.backends.hf.likelihood import Calibration, Reading, StepReading
from arbitrage.boundary import step_text
from arbitrage.harness.router.pairs import HistoryStep
from arbitrage.types import Author, Problem
from training.study.batched import Array, Batched, Rows, Sampling, Text, draw

MOST_STEPS = 12
_MOST_TOKENS_IN_A_STEP = 64
_MOST_TOKENS = 256


@dataclass(frozen=True, slots=True)
class State:
    """One solution in the making."""

    problem: Problem
    ids: tuple[int, ...]
    """Prompt and committed steps."""
    steps: tuple[HistoryStep, ...] = ()
    surprise: float = 0.0
    """The reader's largest over the committed steps."""
    draft_surprise: float = 0.0
    """The draft's largest over those that it wrote."""
    ended: bool = False

    @property
    def text(self) -> Text:
        """For the language models."""
        return Text(self.problem.id, self.ids)


@dataclass(frozen=True, slots=True)
class Look:
    """How a language model takes a step, token by token; all of shape (tokens,) unless said otherwise."""

    logprobs: Array
    """Of the step's tokens."""
    entropies: Array
    """Of the model's expectation before each."""
    best: NDArray[np.int64]
    """The tokens that it would have written."""

    @classmethod
    def of(cls, logits: Array, ids: Sequence[int]) -> Look:
        """From the rows before each token, shape (tokens, vocabulary)."""
        wide = logits.astype(np.float64)
        logs = wide - np.logaddexp.reduce(wide, axis=1, keepdims=True)
        entropies = -(np.exp(logs) * logs).sum(1)
        chosen = logs[np.arange(len(ids)), list(ids)]
        return cls(chosen.astype(np.float32), entropies.astype(np.float32), logits.argmax(1))


@dataclass(frozen=True, slots=True)
class Turn:
    """All about the next step after one prefix."""

    draft_ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    draft_text: str
    target_text: str
    draft: Look
    """The draft on its own step."""
    target: Look
    """The target on the draft's step."""
    target_logits: Array
    """The rows behind `target`, shape (tokens, vocabulary)."""
    states: Array
    """The draft's states when it wrote each token, shape (tokens, 2, hidden)."""
    separator: Array
    """Its states after reading the step's last token, shape (2, hidden)."""
    reading: StepReading
    """The reader on the draft's step."""
    target_reading: StepReading
    """The reader on the target's step."""
    draft_reward: float
    target_reward: float


class World:
    """The bundled family at any prefix."""

    def __init__(self) -> None:
        self.draft, self.target = Batched(bundled_path("draft")), Batched(bundled_path("target"))
        self._reader = Batched(bundled_path("prm"))
        settings = json.loads((bundled_path("prm") / "arbitrage.json").read_text())["likelihood"]
        self.calibration = Calibration(settings["offset"], settings["slope"])
        pen = self._reader.pen
        self._encoder = StreamEncoder(HFCodec(pen.tokenizer), StreamFormat(chat=True))
        self._ends = sorted({*self._encoder.separator, pen.end})
        self._stops = [pen.separator, pen.end]
        self._turns: dict[tuple[int, ...], Turn] = {}

    def start(self, problem: Problem) -> State:
        """Nothing written yet."""
        return State(problem, tuple(self.draft.pen.prompt(problem)))

    def forget(self) -> None:
        """Drop what was kept of these problems."""
        self._turns.clear()
        for model in (self.draft, self.target, self._reader):
            model.forget()

    def turns(self, states: Sequence[State]) -> list[Turn]:
        """What each model says next."""
        missing = list({s.ids: s for s in states if s.ids not in self._turns}.values())
        if missing:
            for state, turn in zip(missing, self._fresh(missing), strict=True):
                self._turns[state.ids] = turn
        return [self._turns[s.ids] for s in states]

    def _fresh(self, states: Sequence[State]) -> list[Turn]:
        texts = [s.text for s in states]
        drafted = self.draft.write(texts, self._stops, _MOST_TOKENS_IN_A_STEP)
        own = self.draft.read(texts, [[*ids, ids[-1]] for ids in drafted])  # one more row: behind the last token
        checked = self.target.read(texts, drafted)
        written = self._targets(texts, drafted, checked)
        d_texts, t_texts = ([self._text(ids) for ids in many] for many in (drafted, written))
        readings = self.readings(states, d_texts)
        other = self.readings(states, t_texts)
        turns = []
        for i, state in enumerate(states):
            # Equal texts have equal rewards; their batches may differ in the last bits.
            reading, theirs = readings[i], readings[i] if d_texts[i] == t_texts[i] else other[i]
            ids, rows = drafted[i], own[i]
            turns.append(
                Turn(
                    draft_ids=tuple(ids),
                    target_ids=tuple(written[i]),
                    draft_text=d_texts[i],
                    target_text=t_texts[i],
                    draft=Look.of(rows.logits[:-1], ids),
                    target=Look.of(checked[i].logits, ids),
                    target_logits=checked[i].logits,
                    states=rows.states[:-1],
                    separator=rows.states[-1],
                    reading=reading,
                    target_reading=theirs,
                    draft_reward=self.calibration.reward(max(state.surprise, reading.surprise)),
                    target_reward=self.calibration.reward(max(state.surprise, theirs.surprise)),
                )
            )
        return turns

    def readings(self, states: Sequence[State], steps: Sequence[str]) -> list[StepReading]:
        """How the reader takes each step after its prefix."""
        encode = self._encoder.step
        heads = [
            (*self._encoder.problem(s.problem.problem), *(t for h in s.steps for t in encode(h.text, h.author)))
            for s in states
        ]
        runs = [encode(step, "draft") for step in steps]
        rows = self._reader.read([Text(s.problem.id, head) for s, head in zip(states, heads, strict=True)], runs)
        return [StepReading.of(one.logits, run, self._ends) for one, run in zip(rows, runs, strict=True)]

    def _targets(
        self,
        prefixes: Sequence[Text],
        drafted: Sequence[Sequence[int]],
        checked: Sequence[Rows],
        sampling: tuple[float, Sequence[np.random.Generator]] | None = None,
    ) -> list[list[int]]:
        """The target's own steps: along the draft's as far as both agree, and on from there.

        The draft's step is a fixed proposal: the target's token is drawn from its own law at each position, so what
        comes out is distributed as if it had written alone.
        """
        out: list[list[int]] = []
        for row, (ids, rows) in enumerate(zip(drafted, checked, strict=True)):
            made: list[int] = []
            for token, logits in zip(ids, rows.logits, strict=True):
                if sampling is None:
                    made.append(int(logits.argmax()))
                else:
                    made.append(draw(logits, sampling[0], sampling[1][row].random()))
                if made[-1] != token:
                    break
            out.append(made)
        open_ = [i for i, ids in enumerate(out) if ids[-1] not in self._stops]
        begun = [Text(prefixes[i].root, (*prefixes[i].ids, *out[i])) for i in open_]
        generators = None if sampling is None else Sampling(sampling[0], [sampling[1][i] for i in open_])
        for i, rest in zip(
            open_, self.target.write(begun, self._stops, _MOST_TOKENS_IN_A_STEP, generators), strict=True
        ):
            out[i] += rest
        return out

    def sampled_rewards(self, states: Sequence[State], count: int, temperature: float) -> NDArray[np.float64]:
        """Rewards of `count` sampled target steps at each prefix, shape (states, count)."""
        turns = self.turns(states)
        jobs = [(i, k) for i in range(len(states)) for k in range(count)]
        generators = [np.random.default_rng([*states[i].problem.id.encode(), len(states[i].steps), k]) for i, k in jobs]
        written = self._targets(
            [states[i].text for i, _ in jobs],
            [turns[i].draft_ids for i, _ in jobs],
            [Rows(turns[i].target_logits, turns[i].states) for i, _ in jobs],
            (temperature, generators),
        )
        texts = [self._text(ids) for ids in written]
        known = {(i, turns[i].draft_text): turns[i].draft_reward for i in range(len(states))}
        known |= {(i, turns[i].target_text): turns[i].target_reward for i in range(len(states))}
        new = list(dict.fromkeys((i, text) for (i, _), text in zip(jobs, texts, strict=True)))
        new = [key for key in new if key not in known]
        for (i, text), one in zip(new, self.readings([states[i] for i, _ in new], [t for _, t in new]), strict=True):
            known[i, text] = self.calibration.reward(max(states[i].surprise, one.surprise))
        return np.array([known[i, text] for (i, _), text in zip(jobs, texts, strict=True)]).reshape(-1, count)

    def after(self, state: State, turn: Turn, author: Author) -> State:
        """The state once that author's step is committed."""
        mine = author == "draft"
        ids = turn.draft_ids if mine else turn.target_ids
        text, reading = (turn.draft_text, turn.reading) if mine else (turn.target_text, turn.target_reading)
        steps = (*state.steps, HistoryStep(text, author))
        doubt = max(state.draft_surprise, float(-turn.draft.logprobs.min())) if mine else state.draft_surprise
        over = ids[-1] != self.draft.pen.separator or len(steps) >= MOST_STEPS
        whole = (*state.ids, *ids)
        return State(state.problem, whole, steps, max(state.surprise, reading.surprise), doubt, over)

    def solutions(self, states: Iterable[State], author: Author) -> list[str]:
        """The whole solution when that author writes all that is left."""
        states = list(states)
        unique = {s.ids: s for s in states}
        model = self.draft if author == "draft" else self.target
        going = [s for s in unique.values() if not s.ended]
        rest = model.write([s.text for s in going], [model.pen.end], _MOST_TOKENS)
        tails = {s.ids: ids for s, ids in zip(going, rest, strict=True)}
        prompts = {name: len(self.start(p).ids) for name, p in {s.problem.id: s.problem for s in states}.items()}
        return [self._text([*s.ids[prompts[s.problem.id] :], *tails.get(s.ids, [])]) for s in states]

    def _text(self, ids: Sequence[int]) -> str:
        return step_text(self.draft.pen.text(ids))


def reading(state: State, turn: Turn) -> Reading:
    """What the shipped router sees."""
    by_target = sum(step.author == "target" for step in state.steps)
    return Reading.of(turn.reading, state.surprise, len(state.steps), by_target)
