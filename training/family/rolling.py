"""Step pairs: at every prefix both models write the next step, somebody chooses one, and on it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from arbitrage.boundary import step_text
from arbitrage.harness.synthetic import right_steps
from arbitrage.types import Author, Problem
from training.family.writing import Pen

_MOST_STEPS = 12


@dataclass(slots=True)
class Walk:
    """One solution in the making."""

    problem: Problem
    ids: list[int]
    steps: list[tuple[str, Author]] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        """Committed steps without their authors."""
        return [text for text, _ in self.steps]


@dataclass(frozen=True, slots=True)
class Pair:
    """Both models' next step after one prefix."""

    problem_id: str
    statement: str
    history: tuple[tuple[str, Author], ...]
    draft: str
    target: str
    draft_right: bool
    target_right: bool
    history_right: bool
    draft_ids: tuple[int, ...]
    prefix_ids: tuple[int, ...]
    draft_reward: float | None = None
    target_reward: float | None = None

    @property
    def advantage(self) -> float:
        """Target's reward minus the draft's."""
        assert self.draft_reward is not None
        assert self.target_reward is not None
        return self.target_reward - self.draft_reward

    def as_json(self) -> dict[str, object]:
        """For a JSONL file."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, object]) -> Pair:
        """Back from `as_json`."""
        history = tuple((text, author) for text, author in row["history"])  # type: ignore[attr-defined]
        ids = {key: tuple(row[key]) for key in ("draft_ids", "prefix_ids")}  # type: ignore[arg-type]
        return cls(**{**row, **ids, "history": history})  # type: ignore[arg-type]


Choice = tuple[Author, float | None, float | None]
"""Who is committed, and both rewards where somebody computed them."""
Chooser = Callable[[Sequence[Walk], Sequence[str], Sequence[str]], list[Choice]]


def roll(problems: Sequence[Problem], draft: Pen, target: Pen, choose: Chooser, name: str) -> list[Pair]:
    """Walk through all problems at once; `choose` sees the walks and both candidates of each."""
    walks = [Walk(p, draft.prompt(p)) for p in problems]
    pairs: list[Pair] = []
    for depth in range(_MOST_STEPS):
        if not walks:
            break
        prefixes = [w.ids for w in walks]
        written = {"draft": draft.steps(prefixes), "target": target.steps(prefixes)}
        texts = {who: [step_text(draft.text(ids)) for ids in steps] for who, steps in written.items()}
        choices = choose(walks, texts["draft"], texts["target"])
        alive = []
        for i, (walk, (author, s_d, s_t)) in enumerate(zip(walks, choices, strict=True)):
            d, t = texts["draft"][i], texts["target"][i]
            before = right_steps(walk.problem, walk.texts)
            pairs.append(
                Pair(
                    problem_id=walk.problem.id,
                    statement=walk.problem.problem,
                    history=tuple(walk.steps),
                    draft=d,
                    target=t,
                    draft_right=right_steps(walk.problem, [*walk.texts, d])[-1],
                    target_right=right_steps(walk.problem, [*walk.texts, t])[-1],
                    history_right=all(before),
                    draft_ids=tuple(written["draft"][i]),
                    prefix_ids=tuple(walk.ids),
                    draft_reward=s_d,
                    target_reward=s_t,
                )
            )
            ids = written[author][i]
            walk.ids = [*walk.ids, *ids]
            walk.steps.append((texts[author][i], author))
            if ids and ids[-1] == draft.separator:
                alive.append(walk)
        print(f"{name}: depth {depth + 1}, {len(alive)} of {len(problems)} solutions go on", flush=True)
        walks = alive
    return pairs
