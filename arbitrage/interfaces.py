"""The interfaces between strategies and backends. Everything here is abstract or plain data; nothing imports torch.

A strategy sees language models as growing token sequences (`Session`) and reward models or routers as growing step
streams (`ScoreSession`). Both own a key-value cache that can be rolled back exactly.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import ClassVar, Literal, Self

import numpy as np

from arbitrage.cpu import CpuThreads, ThreadChoice
from arbitrage.draft_length import DraftLength
from arbitrage.errors import CapabilityError
from arbitrage.sampling import Best, Logits, Sampling
from arbitrage.types import Author, Generation, Problem, Role, StepRecord

INSTRUCTION = "Please reason step by step, and put your final answer within \\boxed{}."


class Capability(enum.StrEnum):
    """What a language model can do beyond writing text; checked before the first token."""

    LOGITS = "logits"
    """Exact next-token logits at chosen positions (needed by token-level speculation)."""
    REWIND = "rewind"
    """Exact removal of the newest tokens (needed by every step strategy)."""


class StopReason(enum.StrEnum):
    """Why one call of `Session.generate` ended."""

    SEPARATOR = "separator"
    EOS = "eos"
    LENGTH = "length"
    """The call's token limit."""
    CONTEXT = "context"
    """The model's context is full."""
    CANCELLED = "cancelled"
    """The caller does not want the rest."""


@dataclass(frozen=True, slots=True)
class Stop:
    """When `Session.generate` stops; end-of-sequence always does."""

    max_tokens: int
    """At most this many new tokens (at least 1)."""
    at_separator: bool = True
    """Stop with the first token whose text completes a blank line (the token is kept)."""
    cancelled: Callable[[], bool] | None = None
    """Asked after every token: true ends the call there. May be answered by another thread; a session that does not
    ask is merely later."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """What one call of `Session.generate` added to its sequence."""

    ids: tuple[int, ...]
    """New token ids, the stopping token included."""
    logprobs: tuple[float, ...]
    """Natural-log probability of each new token under the writing model at temperature 1."""
    reason: StopReason
    proposal_kept: int = 0
    """Leading tokens of the caller's proposal that were written."""
    drafted: int = 0
    """Tokens proposed by token-level speculation inside this call."""
    drafted_accepted: int = 0
    """Of these, the tokens that were kept."""
    drafts: int = 0
    """Rounds in which tokens were proposed."""

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability per token: the writer's confidence in this text."""
        return float(np.mean(self.logprobs)) if self.logprobs else 0.0


@dataclass(slots=True)
class Usage:
    """Work done by one model for one problem; only ever grows."""

    calls: int = 0
    """Forward passes."""
    tokens: int = 0
    """Tokens pushed through the model."""
    seconds: float = 0.0
    """Wall-clock seconds inside forward passes, device synchronised."""
    dropped: int = 0
    """Of the tokens, those that were taken back; the others are what the model holds at the end."""
    repeated: int = 0
    """Tokens that had been at the same place behind the same tokens before: work that a cache should have saved."""

    def add(self, other: Usage) -> None:
        """Count the work of `other` in."""
        self.calls += other.calls
        self.tokens += other.tokens
        self.seconds += other.seconds
        self.dropped += other.dropped
        self.repeated += other.repeated


class TextCodec(ABC):
    """A tokenizer as strategies need it: ids to text and back, prompts, the end of a step."""

    @property
    @abstractmethod
    def eos_ids(self) -> frozenset[int]:
        """Ids that end a sequence."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Token ids of `text`; nothing is added, special tokens inside the text are not parsed."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without special tokens."""

    @abstractmethod
    def piece(self, token: int) -> str:
        """Text of one token, good enough to find line ends (broken bytes may be replaced)."""

    @abstractmethod
    def render(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Prompt ids of a conversation by the chat template, ready for the assistant's turn; BOS at most once."""

    @abstractmethod
    def vocabulary(self) -> Mapping[str, int]:
        """Token strings to ids, added tokens included."""


class Session(ABC):
    """One growing token sequence and its cache. A context manager; closing it frees the cache.

    Tokens may be appended without running the model: they are encoded together with whatever needs logits next.
    """

    usage: Usage
    proposal_length: DraftLength | None = None
    """Chooses how many tokens of a proposal are checked at once under greedy decoding. Set by who opened the session,
    so that what one sequence has learnt serves the next; else a session that needs one makes its own."""

    @property
    @abstractmethod
    def ids(self) -> Sequence[int]:
        """The sequence so far: prompt, then everything appended."""

    @abstractmethod
    def generate(
        self, stop: Stop, sampling: Sampling, rng: np.random.Generator, proposal: Sequence[int] = ()
    ) -> Continuation:
        """Write until `stop`, append what was written, and say why it ended.

        Args:
            stop: when to stop.
            sampling: how tokens are chosen.
            rng: source of the uniform numbers; unused when greedy.
            proposal: tokens that somebody else suggests. A parallel pass checks them and keeps the prefix that this
                model agrees with; the law of the output does not depend on them.

        Raises:
            ContextOverflowError: the sequence is already longer than the model's context.
        """

    @abstractmethod
    def extend(self, ids: Sequence[int], logits: int = 0) -> Logits | None:
        """Append `ids`; optionally run one forward pass.

        Args:
            ids: tokens to append (may be empty).
            logits: how many rows to return. Row k of n predicts the token after position `len(self.ids) - n + k`.

        Returns:
            None for `logits=0` (nothing is run yet), else float32 of shape (logits, vocabulary).

        Raises:
            ValueError: `logits` exceeds the length of the sequence.
            ContextOverflowError: the sequence would be longer than the model's context.
        """

    def catch_up(self) -> None:  # noqa: B027 - where nothing can be encoded ahead of time, nothing is
        """Encode what was appended and not run yet, so that whoever asks next finds it done. Changes no output.

        Whatever it raises leaves the session as it was.
        """

    def extend_greedily(self, ids: Sequence[int], count: int) -> Logits | Sequence[Best]:
        """As `extend` with `logits=count`, for a caller who wants no more of each row than its best token.

        A session whose rows are long and far away (on a device) tells just that; this one hands over the rows.
        """
        rows = self.extend(ids, count)
        assert rows is not None
        return rows

    @abstractmethod
    def rewind(self, length: int) -> None:
        """Forget all tokens from position `length` on. Exact: later logits equal those of a fresh session.

        Raises:
            ValueError: `length` is not within 0..len(self.ids).
        """

    @abstractmethod
    def close(self) -> None:
        """Free the cache; closing twice is fine."""

    def usage_by_role(self, role: Role) -> Mapping[Role, Usage]:
        """Work done so far when this session plays `role`; composed sessions tell their helpers apart."""
        return {role: self.usage}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LanguageModel(ABC):
    """Weights and tokenizer, resident on one device; hands out sessions."""

    name: str
    """How tables and manifests call it."""
    codec: TextCodec
    capabilities: frozenset[Capability]
    context_length: int
    """Most tokens a session can hold, prompt included."""
    instruction: str = INSTRUCTION
    """What the model wants to read after the statement; empty when it was trained on the statement alone."""
    cpu_threads: CpuThreads | None = None
    """What its passes run on; None where there is nothing to set, as on a GPU."""
    thresholds: Mapping[float, float] = {}
    """Calibration of its confidence in its own steps: escalation rate to threshold. Empty when it has none."""

    @abstractmethod
    def open(self, prompt: Sequence[int]) -> Session:
        """A new session that starts with `prompt` (at least one token); nothing is run yet.

        Raises:
            ContextOverflowError: the prompt leaves no room for a new token.
        """

    def describe(self) -> dict[str, object]:
        """Facts for the manifest: source, dtype, device, parameters, hashes."""
        return {"name": self.name}


class ScoreSession(ABC):
    """One solution as a scorer sees it: committed steps, and at most one candidate after them."""

    usage: Usage

    @abstractmethod
    def score(self, step: str, author: Author) -> float:
        """Score `step` as the next one, in [0, 1]. It becomes the candidate; an earlier candidate is dropped."""

    @abstractmethod
    def commit(self) -> None:
        """Keep the candidate as part of the solution.

        Raises:
            RuntimeError: there is no candidate.
        """

    @abstractmethod
    def discard(self) -> None:
        """Drop the candidate, if there is one. Exact: the stream is as if it had never been scored."""

    @abstractmethod
    def append(self, step: str, author: Author) -> None:
        """Commit a step without scoring it (it is encoded together with the next candidate); drops a candidate."""

    @abstractmethod
    def close(self) -> None:
        """Free the cache; closing twice is fine."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StepScorer(ABC):
    """A process reward model or a router: scores the next step of a solution."""

    name: str
    thresholds: Mapping[float, float] = {}
    """Calibration: escalation rate to threshold. Empty when the scorer was never calibrated."""
    cpu_threads: CpuThreads | None = None
    """What its passes run on; None where there is nothing to set, as on a GPU."""

    @abstractmethod
    def open(self, problem: str) -> ScoreSession:
        """A new, empty solution to the problem with this statement."""

    def describe(self) -> dict[str, object]:
        """Facts for the manifest."""
        return {"name": self.name}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run asks of every strategy alike."""

    max_tokens: int = 4096
    """Token budget of a solution, prompt not counted."""
    max_steps: int = 100
    sampling: Sampling = Sampling()
    answer_stop: bool = False
    """End a solution with the step that completes a boxed answer."""
    instruction: str | None = None
    """Put after the statement in the user's message; None takes each model's own (`LanguageModel.instruction`)."""
    system: str = ""
    """System message; empty sends none."""
    on_step: Callable[[Problem, StepRecord], None] | None = None
    """Called with every committed step as it comes; in a run, by one thread at a time."""

    def prompt(self, problem: str, model: LanguageModel) -> list[int]:
        """Prompt ids that ask `model` for a solution of `problem` (a statement)."""
        instruction = model.instruction if self.instruction is None else self.instruction
        user = f"{problem}\n{instruction}" if instruction else problem
        system = [{"role": "system", "content": self.system}] if self.system else []
        return model.codec.render([*system, {"role": "user", "content": user}])


@dataclass(frozen=True, slots=True)
class Models:
    """The models of a run by role, and the run's settings. Roles that a strategy does not need may be missing."""

    draft: LanguageModel | None = None
    target: LanguageModel | None = None
    prm: StepScorer | None = None
    router: StepScorer | None = None
    settings: Settings = field(default_factory=Settings)
    threads: tuple[ThreadChoice, ...] = ()
    """CPU threads that were chosen by measuring."""

    def language(self, role: Literal[Role.DRAFT, Role.TARGET]) -> LanguageModel:
        """The language model in `role`.

        Raises:
            CapabilityError: nobody has the role.
        """
        model = self.draft if role is Role.DRAFT else self.target
        if model is None:
            raise CapabilityError(f"no {role} model is loaded; name one with --{role} BACKEND:PATH")
        return model

    def scorer(self, role: Literal[Role.PRM, Role.ROUTER]) -> StepScorer:
        """The scorer in `role`.

        Raises:
            CapabilityError: nobody has the role.
        """
        model = self.prm if role is Role.PRM else self.router
        if model is None:
            raise CapabilityError(f"no {role} is loaded; name one with --{role} BACKEND:PATH")
        return model

    def with_settings(self, settings: Settings) -> Models:
        """The same models under other settings."""
        return replace(self, settings=settings)

    def roles(self) -> frozenset[Role]:
        """Roles that are filled."""
        return frozenset(role for role in Role if getattr(self, role.value) is not None)


class Strategy(ABC):
    """Turns one problem into one solution using the models of a run."""

    name: ClassVar[str]
    """Registered name, e.g. 'arbitrage-router'."""
    requires: frozenset[Role | Capability]
    """Roles that must be filled, and capabilities that every required language model must offer."""
    mixes_tokenizers: ClassVar[bool] = False
    """Whether draft and target may have different tokenizers, because only text passes between them."""

    @abstractmethod
    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        """Write a solution. `rng` is derived from (seed, problem id); see `arbitrage.seeding`."""

    def describe(self) -> dict[str, object]:
        """Name and parameters, for the manifest and for table labels."""
        return {"name": self.name}

    @property
    def label(self) -> str:
        """How tables call this strategy: its name and the parameters that differ from the default."""
        return self.name


@dataclass(frozen=True, slots=True)
class BackendFacts:
    """What a backend can do, for the capability table."""

    reads: str
    """Formats and sources."""
    devices: str
    capabilities: frozenset[Capability]
    """Of its models whose layers are all attention."""
    scorers: bool
    """Whether PRM and router can be loaded."""
    together: bool
    """Whether sessions that are asked at the same time are decoded in one batch."""
    bundled: tuple[str, ...]
    """Precisions of the bundled target; the first is the default."""


class Backend(ABC):
    """Loads models of one format. Registered under a name; `hf` is the first."""

    name: ClassVar[str]
    facts: ClassVar[BackendFacts | None] = None
    """For the capability table; None: the backend says nothing of itself."""
    options: ClassVar[frozenset[str] | None] = None
    """Options that `language_model` and `scorer` understand; None: any. In a run over several backends each gets its
    own."""

    @abstractmethod
    def language_model(self, source: str, device: str | None = None, **options: object) -> LanguageModel:
        """Load a draft or a target.

        Args:
            source: a path or a hub id, in the form this backend documents.
            device: e.g. 'cpu' or 'cuda:1'; None lets the backend choose.
            options: backend-specific, e.g. `dtype`.

        Raises:
            ModelLoadError: absent, damaged, or refused for safety.
        """

    @abstractmethod
    def scorer(self, source: str, device: str | None = None, **options: object) -> StepScorer:
        """Load a process reward model or a router.

        Raises:
            ModelLoadError: absent, damaged, or refused for safety.
            CapabilityError: this backend has no scorers.
        """

    @abstractmethod
    def bundled(self, role: Role, variant: str | None = None) -> str:
        """Source of the bundled model for `role` in this backend's format.

        Args:
            role: whose model.
            variant: a precision that this backend ships, as in `bundled:target@q3_k`; None takes its default.

        Raises:
            ModelLoadError: there is none.
        """
