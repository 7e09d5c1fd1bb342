"""The one step loop: propose, decide, regenerate if escalated, commit. Every step strategy is this with a policy.

Knows sessions, steps and budgets. Knows nothing of data sets, grading or files.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import final

import numpy as np

from arbitrage.decoding import ProposalLengths
from arbitrage.interfaces import Capability, Models, Stop, StopReason, Strategy, Usage
from arbitrage.requirements import shares_tokenizer
from arbitrage.seeding import step_rng
from arbitrage.strategies.ahead import Ahead
from arbitrage.strategies.catch_up import CatchUp
from arbitrage.strategies.policy import Decision, Policy, StepContext, WrittenStep
from arbitrage.strategies.writer import LanguageRole, StepWriter
from arbitrage.types import Author, EndReason, Generation, Problem, Role, StepRecord

_EMPTY_STEPS_BEFORE_TARGET = 2
EMPTY_STEPS_BEFORE_END = 3
"""So many empty steps in a row end a solution as stalled."""
_SWITCHES = ("reuse", "pipeline", "catch_up")


class StepStrategy(Strategy):
    """A strategy whose draft proposes every step and whose policy decides what the target writes instead."""

    requires: frozenset[Role | Capability] = frozenset({Role.DRAFT, Role.TARGET, Capability.REWIND})
    mixes_tokenizers = True
    reuse: bool = True
    """Whether the target, asked for its own step, first checks how far the draft's agrees. Changes no text; where the
    target itself speculates with a draft and samples, the law stays and the text may be another."""
    pipeline: bool = False
    """Whether the draft goes on writing while a step is judged. Changes no text."""
    catch_up: bool = False
    """Whether the target reads accepted steps while the draft writes, instead of when it is next asked. Changes no
    text."""

    def __init__(self, reuse: bool = True, pipeline: bool = False, catch_up: bool = False) -> None:
        """A strategy with parameters of its own hands these on; one that never calls this keeps the defaults."""
        self.reuse, self.pipeline, self.catch_up = reuse, pipeline, catch_up

    @abstractmethod
    def policy(self, problem: Problem, models: Models, rng: np.random.Generator) -> Policy:
        """A fresh policy for one problem."""

    @final
    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        """Run the step loop under this strategy's policy."""
        policy = self.policy(problem, models, rng)
        switches = {name: getattr(self, name) for name in _SWITCHES}
        return write_steps(problem, models, rng, policy, Role.DRAFT, Role.TARGET, **switches, lengths=self._lengths)

    @property
    def _lengths(self) -> ProposalLengths:
        """What this strategy's targets have learnt of checking rejected steps; another's may differ in all of it.

        Made here because `__init__` need not have been called; several threads that ask at once get the same one.
        """
        lengths: ProposalLengths = self.__dict__.setdefault("_proposal_lengths", ProposalLengths())
        return lengths

    def switches(self) -> dict[str, object]:
        """Parameters of this class that are not at their defaults, for `describe`."""
        return {name: getattr(self, name) for name in _SWITCHES if getattr(self, name) != getattr(StepStrategy, name)}

    def labelled(self, *parts: str) -> str:
        """The name with `parts` and whatever is switched, for `label`."""
        shown = [*parts, *(f"{name}={str(value).lower()}" for name, value in self.switches().items())]
        return f"{self.name} ({', '.join(shown)})" if shown else self.name


def write_steps(
    problem: Problem,
    models: Models,
    rng: np.random.Generator,
    policy: Policy,
    writer: LanguageRole,
    fallback: LanguageRole | None,
    *,
    reuse: bool = True,
    pipeline: bool = False,
    catch_up: bool = False,
    lengths: ProposalLengths | None = None,
) -> Generation:
    """Solve `problem` step by step.

    Args:
        problem: what to solve.
        models: who solves it, under which settings.
        rng: randomness of this problem.
        policy: decides about the writer's steps.
        writer: who proposes each step.
        fallback: who writes a step instead when the policy escalates; None when it never does.
        reuse: whether the fallback is given the writer's step as a proposal, if they share a tokenizer.
        pipeline: whether the writer goes on, in a thread of its own, while the policy decides. Where the policy
            escalates, that was in vain. Seconds inside models then overlap, and may exceed the wall clock together.
        catch_up: whether the fallback reads the prompt and each accepted step, in a thread of its own, while the writer
            goes on. Where it is never asked again, that was in vain. Seconds overlap here too.
        lengths: what was learnt of checking proposals, to be shared by the problems of one strategy; None begins anew.
    """
    with ExitStack() as stack:
        stack.enter_context(closing(policy))
        loop = _Loop(problem, models, rng, policy, writer, fallback, stack, reuse, lengths)
        if pipeline and fallback is not None:
            loop.pipeline(stack)
        if catch_up:
            loop.catch_up(stack)
        return loop.run()


class _Loop:
    """State of one solution."""

    def __init__(
        self,
        problem: Problem,
        models: Models,
        rng: np.random.Generator,
        policy: Policy,
        writer: LanguageRole,
        fallback: LanguageRole | None,
        stack: ExitStack,
        reuse: bool,
        lengths: ProposalLengths | None,
    ) -> None:
        self.problem, self.rng, self.policy = problem, rng, policy
        self.settings = models.settings
        last = models.language(fallback or writer)
        self.shared = shares_tokenizer(models.language(writer), last)
        """Whether draft and target exchange token ids; else they exchange text."""
        prompt = self.settings.prompt(problem.problem, last)
        # With one tokenizer both read the very same prompt; otherwise each its own, by its own template.
        own = prompt if self.shared else self.settings.prompt(problem.problem, models.language(writer))
        self.writer = StepWriter(models.language(writer), writer, own, stack)
        self.fallback = StepWriter(last, fallback, prompt, stack) if fallback else None
        self.reuse = reuse and self.shared
        if self.fallback and lengths is not None:
            self.fallback.session.proposal_length = lengths.of(last)
        self.writers = [w for w in (self.writer, self.fallback) if w]
        self.texts: list[str] = []
        self.spent = 0
        """Committed tokens, each step counted in its author's tokenizer."""
        self.steps: list[StepRecord] = []
        self.empty = 0
        self.seconds: Mapping[str, float] = {}
        """Spent inside model calls up to the last committed step, by role."""
        self.executor: Executor | None = None
        self.ahead: Ahead | None = None
        """The writer's next step, on the assumption that the newest one is accepted."""
        self.behind: CatchUp | None = None
        """The fallback, reading what is committed."""
        self.in_vain = 0
        """Tokens written ahead and taken back, in the step at hand."""

    def pipeline(self, stack: ExitStack) -> None:
        """Write ahead from now on, until `stack` is closed."""
        self.executor = stack.enter_context(ThreadPoolExecutor(1))
        stack.callback(self._drop_ahead)

    def catch_up(self, stack: ExitStack) -> None:
        """Have the fallback read in the background from now on, the prompt first, until `stack` is closed."""
        if self.fallback is not None:
            self.behind = CatchUp(stack.enter_context(ThreadPoolExecutor(1)), self.fallback.session)
            self.behind.start()

    def run(self) -> Generation:
        while (reason := self._step()) is None:
            pass
        spent = self._usage()
        last = self.writers[-1]
        ids = tuple(last.session.ids[last.prompt : last.base])
        return Generation(
            text=last.model.codec.decode(ids) if self.shared else "".join(self.texts),
            token_ids=ids,
            steps=tuple(self.steps),
            end_reason=reason,
            prompt_tokens=last.prompt,
            time_s={role.value: use.seconds for role, use in spent.items()},
            calls={role.value: use.calls for role, use in spent.items()},
            forwarded_tokens={role.value: use.tokens for role, use in spent.items()},
            dropped_tokens={role.value: use.dropped for role, use in spent.items()},
            repeated_tokens={role.value: use.repeated for role, use in spent.items()},
        )

    def _step(self) -> EndReason | None:
        """Write, decide and commit one step; why the solution ends with it, or None."""
        started = time.perf_counter()
        index = len(self.steps)
        stop = Stop(self._left())
        samples: dict[int, WrittenStep] = {}

        drafted: WrittenStep | None = None

        def write_target(sample: int) -> WrittenStep:
            if sample not in samples:
                assert self.fallback is not None
                self._free_fallback()
                stream = self._stream(index, Role.TARGET, sample)
                proposal = drafted.ids if drafted is not None and self.reuse else ()
                samples[sample] = self.fallback.write(stop, self.settings, stream, proposal)
            return samples[sample]

        self.in_vain = 0
        for one in self.writers:
            one.written = 0
        if self.fallback and self.empty >= _EMPTY_STEPS_BEFORE_TARGET:
            decision = Decision(accept=False)
        else:
            drafted = self._draft(index, stop)
            self._write_ahead(index, drafted)
            prefix = self.writer.prefix
            context = StepContext(self.problem, index, drafted, self.rng, write_target, prefix, stop.max_tokens)
            decision = self.policy.decide(context)
            if not decision.accept:
                self._drop_ahead()
        if decision.accept and drafted is not None:
            step, author = drafted, self.writer.author
        else:
            step, author = write_target(0), "target"
        fits = self._commit(step, author)
        self.policy.committed(step.text, author)
        self.spent += len(step.ids)
        self.empty = 0 if step.text.strip() else self.empty + 1
        draft_tokens, target_tokens = self._tokens_written()
        written_by_target = samples.get(0)
        record = StepRecord(
            index=index,
            text=step.text,
            author=author,
            tokens=len(step.ids),
            draft_tokens=draft_tokens,
            target_tokens=target_tokens,
            score=decision.score,
            draft_reward=decision.draft_reward,
            target_reward=decision.target_reward,
            draft_logprob=drafted.continuation.mean_logprob if drafted and self.fallback else None,
            drafted=step.continuation.drafted,
            drafted_accepted=step.continuation.drafted_accepted,
            drafts=step.continuation.drafts,
            rejected_text=drafted.text if drafted is not None and step is not drafted else None,
            latency_s=time.perf_counter() - started,
            time_s=self._seconds_since_last(),
            router_score=decision.router_score,
            unused_target_text=written_by_target.text if written_by_target and step is drafted else None,
            confirmed=self._confirmed(drafted, written_by_target),
            ahead_tokens=self.in_vain,
        )
        self.steps.append(record)
        if self.settings.on_step is not None:
            self.settings.on_step(self.problem, record)
        reason = self._end(step, self._left(), self.empty, len(self.steps)) if fits else EndReason.MAX_TOKENS
        if self.behind is not None and reason is None and step is drafted:
            self.behind.start()
        return reason

    def _draft(self, index: int, stop: Stop) -> WrittenStep:
        """The writer's version of the step: what it wrote ahead, if it was told the same then."""
        ahead, self.ahead = self.ahead, None
        if ahead is not None and ahead.stop == stop:
            return ahead.take()
        if ahead is not None:
            self.in_vain += ahead.drop()
        return self.writer.write(stop, self.settings, self._stream(index, self.writer.role))

    def _stream(self, index: int, role: Role, sample: int = 0) -> np.random.Generator:
        """Randomness of one version of a step; greedy writing needs none, and making a generator takes its time."""
        return self.rng if self.settings.sampling.greedy else step_rng(self.rng, index, role, sample)

    def _write_ahead(self, index: int, drafted: WrittenStep) -> None:
        """Have the writer go on as if `drafted` were accepted, unless the solution or the draft's turn ends with it."""
        empty = 0 if drafted.text.strip() else self.empty + 1
        if self.executor is None or empty >= _EMPTY_STEPS_BEFORE_TARGET:
            return
        left = self._left_after(drafted)
        if self._end(drafted, left, empty, index + 1) is None:
            stream = self._stream(index + 1, self.writer.role)
            self.ahead = Ahead(self.executor, self.writer, Stop(left), self.settings, stream)

    def _drop_ahead(self) -> None:
        """Stop writing ahead, and take back what was written."""
        ahead, self.ahead = self.ahead, None
        if ahead is not None:
            self.in_vain += ahead.drop()

    def _left(self) -> int:
        """Tokens that the solution may still have."""
        return min(self.settings.max_tokens - self.spent, *(w.room for w in self.writers))

    def _left_after(self, drafted: WrittenStep) -> int:
        """Tokens that it may still have once the writer's step is committed."""
        text = "" if self.shared else self.writer.model.codec.decode(drafted.ids)
        rooms = (
            w.room - len(drafted.ids if self.shared or w is self.writer else w.model.codec.encode(text))
            for w in self.writers
        )
        return min(self.settings.max_tokens - self.spent - len(drafted.ids), *rooms)

    def _commit(self, step: WrittenStep, author: Author) -> bool:
        """Take `step` into every session; false when the re-encoded text does not fit into one of them."""
        self._free_fallback()
        if self.shared:
            for one in self.writers:
                one.commit(step.ids, self._runs_ahead(one))
            return True
        writer = next(w for w in self.writers if w.author == author)
        text = writer.model.codec.decode(step.ids)
        self.texts.append(text)
        fits = True
        for one in self.writers:
            ids = step.ids if one is writer else one.model.codec.encode(text)
            fits &= len(ids) <= one.room
            one.commit(ids[: one.room], self._runs_ahead(one))
        return fits

    def _free_fallback(self) -> None:
        """Wait until nobody else works on the fallback's session."""
        if self.behind is not None:
            self.behind.finish()

    def _runs_ahead(self, writer: StepWriter) -> bool:
        return writer is self.writer and self.ahead is not None

    def _confirmed(self, drafted: WrittenStep | None, target: WrittenStep | None) -> bool:
        """Whether the target's step, had before anybody knew the draft's, would have been the draft's."""
        same_tokens = drafted is not None and target is not None and drafted.ids == target.ids
        return same_tokens and self.shared and self.settings.sampling.greedy

    def _tokens_written(self) -> tuple[int, int]:
        """Tokens that draft and target wrote in this step, kept or not."""
        written = {w.role: w.written for w in self.writers}
        return written.get(Role.DRAFT, 0), written.get(Role.TARGET, 0)

    def _end(self, step: WrittenStep, left: int, empty: int, steps: int) -> EndReason | None:
        """Why the solution ends with `step`, or None.

        Args:
            step: the newest one.
            left: tokens that may follow it.
            empty: how many empty steps in a row it ends.
            steps: how many there are with it.
        """
        if step.continuation.reason is StopReason.EOS:
            return EndReason.EOS
        if self.settings.answer_stop and has_boxed_answer(step.text):
            return EndReason.ANSWER
        if left < 1:
            return EndReason.MAX_TOKENS
        if empty >= EMPTY_STEPS_BEFORE_END:
            return EndReason.STALLED
        if steps >= self.settings.max_steps:
            return EndReason.MAX_STEPS
        return None

    def _seconds_since_last(self) -> Mapping[str, float]:
        """Seconds inside model calls since the step before, by role."""
        now = {role.value: use.seconds for role, use in self._usage().items()}
        spent = {role: seconds - self.seconds.get(role, 0.0) for role, seconds in now.items()}
        self.seconds = now
        return {role: seconds for role, seconds in spent.items() if seconds > 0}

    def _usage(self) -> Mapping[Role, Usage]:
        """Work by role, everything included."""
        total: dict[Role, Usage] = {}
        parts = [w.session.usage_by_role(w.role) for w in self.writers]
        for part in (*parts, self.policy.usage()):
            for role, usage in part.items():
                total.setdefault(role, Usage()).add(usage)
        return total


def has_boxed_answer(text: str) -> bool:
    r"""Whether `text` holds a complete \boxed{...}."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return False
    depth = 0
    for character in text[start + len("\\boxed") :]:
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return True
    return False
