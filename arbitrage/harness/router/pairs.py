"""Step pairs: both models' next step after one prefix, and what a process reward model says of them.

One pair is one training example of a router (arXiv:2512.05033, section 5). Knows the format on disk; knows no models.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any

from arbitrage.errors import ArbitrageError, MissingExtraError
from arbitrage.harness.run_folder import write_json, write_whole
from arbitrage.types import Author

MANIFEST = "manifest.json"
"""File in a folder of pairs that says how they were made."""
FORMAT = 1
"""Raised when a field changes its meaning."""


class PairsError(ArbitrageError):
    """A folder of step pairs is absent, empty, damaged, or made in another way than is asked for now."""


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """A step that stood before the pair."""

    text: str
    """Without the separator."""
    author: Author


@dataclass(frozen=True, slots=True)
class StepPair:
    """The draft's and the target's next step after the same prefix x, scored by the same PRM."""

    problem_id: str
    statement: str
    """Of the problem, as the models read it."""
    source: str
    """Where the problem comes from (NuminaMath: its source); empty when unknown."""
    index: int
    """Position of the step in its solution, from 0."""
    history: tuple[HistoryStep, ...]
    """Committed steps before it."""
    draft: str
    """z_d, without the separator."""
    targets: tuple[str, ...]
    """m samples of z_t, without separators; the first is what an escalation would commit."""
    draft_reward: float
    """s_d in [0, 1]."""
    target_rewards: tuple[float, ...]
    """Of each sample, in [0, 1]."""
    draft_ids: tuple[int, ...]
    """The draft's step in its own tokenizer, separator or end of sequence included."""
    draft_logprobs: tuple[float, ...]
    """Natural-log probability of each of these under the draft at temperature 1."""
    target_tokens: tuple[int, ...]
    """Length of each sample of z_t in tokens, separator included."""
    prefix_ids: tuple[int, ...]
    """Prompt and committed steps as the draft read them."""
    committed: Author
    """Whose step the roll-in went on with."""
    roll_in: str
    """What decided that: oracle, draft, target, or a router's name."""
    temperature: float = 0.0
    """0: greedy."""
    draft_outcome: float | None = None
    """Share of roll-outs from x·z_d that end in the right answer; None where nobody rolled out."""
    target_outcome: float | None = None
    """The same from x·z_t (its first sample)."""

    @property
    def target_reward(self) -> float:
        """s_t: the mean over the samples."""
        return fmean(self.target_rewards)

    @property
    def advantage(self) -> float:
        """Δ = s_t − s_d: the mean of the samples' differences, so that equal rewards give 0 exactly."""
        return fmean(reward - self.draft_reward for reward in self.target_rewards)

    @property
    def outcome_advantage(self) -> float | None:
        """Right answers behind the target's step, as a share, minus those behind the draft's; None: no roll-outs."""
        if self.draft_outcome is None or self.target_outcome is None:
            return None
        return self.target_outcome - self.draft_outcome

    @property
    def label(self) -> bool:
        """Y = 1[Δ > 0]; ties keep the draft."""
        return self.advantage > 0

    @property
    def draft_logprob(self) -> float:
        """Mean log-probability per token: the draft's confidence in its step."""
        return fmean(self.draft_logprobs) if self.draft_logprobs else 0.0


def checked_rewards(rewards: Sequence[float]) -> Sequence[float]:
    """Rewards that can be stored.

    Raises:
        PairsError: one is no number in [0, 1].
    """
    for reward in rewards:
        if not 0 <= reward <= 1:  # false for NaN
            raise PairsError(f"the PRM gave a reward of {reward}; pairs need rewards in [0, 1]")
    return rewards


def held_out(problem_id: str, share: float = 0.1) -> bool:
    """Whether a problem's pairs are for evaluation: by its id alone, so that no later pair of it can be trained on."""
    hashed = hashlib.sha256(f"held out {problem_id}".encode()).digest()
    return int.from_bytes(hashed[:8], "big") < share * 2**64


def split(pairs: Iterable[StepPair], share: float = 0.1) -> tuple[list[StepPair], list[StepPair]]:
    """(for training, held out), by problem."""
    training: list[StepPair] = []
    kept_out: list[StepPair] = []
    for pair in pairs:
        (kept_out if held_out(pair.problem_id, share) else training).append(pair)
    return training, kept_out


def write_shard(folder: Path, pairs: Sequence[StepPair]) -> Path:
    """Store whole problems' pairs as the folder's next Parquet file; it is there completely or not at all.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(file.stem.rpartition("-")[2]) for file in shards(folder)), default=-1)
    pa, parquet = _arrow()
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist([asdict(pair) for pair in pairs], _schema(pa)), sink, compression="zstd")
    file = folder / f"shard-{number:05d}.parquet"
    write_whole(file, sink.getvalue().to_pybytes())
    return file


def shards(folder: Path) -> list[Path]:
    """The folder's Parquet files in the order in which they were written."""
    return sorted(folder.glob("shard-*.parquet"))


def read_pairs(folder: Path) -> Iterator[StepPair]:
    """All pairs of a folder, a shard at a time.

    Raises:
        PairsError: there are none, or a file is damaged or of another format.
        MissingExtraError: pyarrow is not installed.
    """
    files = shards(folder)
    if not files:
        raise PairsError(
            f"{folder}: there are no step pairs in it; make some with: arbitrage router collect --out {folder}"
        )
    for file in files:
        yield from read_shard(file)


def read_shard(file: Path) -> list[StepPair]:
    """The pairs of one Parquet file.

    Raises:
        PairsError: it is damaged or of another format.
        MissingExtraError: pyarrow is not installed.
    """
    _, parquet = _arrow()
    with _as_pairs(file):
        return [_pair(row) for row in parquet.read_table(file).to_pylist()]


def digest(folder: Path) -> str:
    """SHA-256 of the folder's pairs: which pairs these are, whatever the folder is called."""
    found = hashlib.sha256()
    for file in shards(folder):
        found.update(file.read_bytes())
    return found.hexdigest()


def finished_problems(folder: Path) -> set[str]:
    """Ids of problems whose pairs are stored.

    Raises:
        PairsError: a file is damaged.
    """
    return {name for file in shards(folder) for name in _column(file, "problem_id")}


def write_manifest(folder: Path, facts: Mapping[str, object]) -> None:
    """Say how the folder's pairs are made; before the first of them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MANIFEST, {"format": FORMAT, **facts})


def read_manifest(folder: Path) -> dict[str, Any]:
    """How the folder's pairs were made.

    Raises:
        PairsError: it does not say, or is of another format.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PairsError(f"{folder} is no folder of step pairs: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise PairsError(f"{folder / MANIFEST} is not of format {FORMAT}; collect the pairs again with this version")
    return manifest


def _column(file: Path, name: str) -> list[str]:
    _, parquet = _arrow()
    with _as_pairs(file):
        found: list[str] = parquet.read_table(file, columns=[name]).column(name).to_pylist()
    return found


@contextlib.contextmanager
def _as_pairs(file: Path) -> Iterator[None]:
    """Say of whatever fails that the file is damaged."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:  # pyarrow's own errors are ValueError and OSError
        raise PairsError(f"{file} cannot be read as step pairs: {error}; delete it and collect again") from error


def _pair(row: dict[str, Any]) -> StepPair:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    values["history"] = tuple(HistoryStep(**step) for step in values["history"])
    pair = StepPair(**values)
    if wrong := _wrong(pair):
        raise ValueError(f"step {pair.index} of {pair.problem_id}: {wrong}")
    return pair


def _wrong(pair: StepPair) -> str:
    """What cannot be in a pair; empty when all is well."""
    rewards = (pair.draft_reward, *pair.target_rewards)
    outcomes = [share for share in (pair.draft_outcome, pair.target_outcome) if share is not None]
    authors = {pair.committed, *(step.author for step in pair.history)}
    if not all(0 <= value <= 1 for value in (*rewards, *outcomes)):  # false for NaN
        return f"rewards and outcomes are in [0, 1], not {rewards} and {outcomes}"
    if not authors <= {"draft", "target"}:
        return f"draft and target write steps, not {sorted(authors - {'draft', 'target'})}"
    if not pair.targets or not len(pair.targets) == len(pair.target_rewards) == len(pair.target_tokens):
        return "each target step has a reward and a length, and there is at least one"
    if len(pair.draft_logprobs) not in (0, len(pair.draft_ids)):
        return f"{len(pair.draft_ids)} tokens have {len(pair.draft_logprobs)} log-probabilities"
    return ""


def _schema(pa: Any) -> Any:
    strings, doubles, whole = pa.list_(pa.string()), pa.list_(pa.float64()), pa.list_(pa.int32())
    special = {
        "index": pa.int32(),
        "history": pa.list_(pa.struct([("text", pa.string()), ("author", pa.string())])),
        "targets": strings,
        "draft_reward": pa.float64(),
        "target_rewards": doubles,
        "draft_ids": whole,
        "draft_logprobs": doubles,
        "target_tokens": whole,
        "prefix_ids": whole,
        "temperature": pa.float64(),
        "draft_outcome": pa.float64(),
        "target_outcome": pa.float64(),
    }
    return pa.schema([(field.name, special.get(field.name, pa.string())) for field in fields(StepPair)])


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError.of("a folder of step pairs", "pyarrow", "router") from None
    return pyarrow, pyarrow.parquet
