"""Every router of the study on the same step pairs and the same held-out problems: one table.

python -m training.study.run --work work/study --out runs/router-study

Each stage keeps what it made under --work and is not repeated: step pairs with features and roll-outs, the classifiers
on text, routing for real, pairs on a router's own prefixes, what decisions cost. All is greedy but the m samples.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.hf.likelihood import AdvantageHead
from arbitrage.harness.synthetic import Split, generate
from arbitrage.types import Author, Problem
from training.family.router import PROBLEMS
from training.study import classifier, clock, collect, costs, quality, replay, report, texts
from training.study.candidates import CANDIDATES, Scorer, columns, labels, references, shipped_head
from training.study.features import Floats, Table
from training.study.heads import LINEAR, SMALL, fit
from training.study.replay import Arm, Policy, on_tables
from training.study.world import State, Turn, World

LEARNER = "draft's log-probs and entropies"
"""Whose own prefixes are collected again."""
RATE = 0.3
REPLAYED_RATES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6)
REPLAYED = (
    "draft's log-probs and entropies",
    "draft's state at each token",
    "reader + draft's log-probs",
    "target's log-probs",
    "target's log-probs + reader",
    "reader; outcome, draft goes on",
    "reader; outcome, target goes on",
    "target's log-probs; outcome, draft goes on",
    "target's log-probs; outcome, target goes on",
)
CLASSIFIER = "text, tagged"


def cutoff(scores: Floats, rate: float) -> float:
    """The threshold above which that share of the scores lies."""
    return float(np.quantile(scores, 1 - rate))


def scored(training: Table, held_out: Table, head: AdvantageHead, seeds: Sequence[int]) -> dict[str, list[Floats]]:
    """Held-out scores of the references and of every candidate, a list entry for each seed."""
    found = {name: [scorer(held_out)] for name, scorer in references(head).items()}
    for name, candidate in CANDIDATES.items():
        found[name] = [candidate.fit(training, seed)(held_out) for seed in seeds]
        print(f"fitted: {name}", flush=True)
    return found


def with_text(
    training: Table, held_out: Table, given: Mapping[str, Sequence[texts.TextScores]]
) -> dict[str, list[Floats]]:
    """The classifiers, and heads that add the draft's log-probabilities or the reader to their scores.

    Those heads learn from the training problems that the classifiers did not see.
    """
    found = {name: [one.held_out for one in many] for name, many in given.items()}
    spare = ~texts.seen(training.problems)
    for name in ("text, tagged", "text, untagged"):
        for groups in (("common", "draft"), ("reader",)):
            both = []
            for seed, one in enumerate(given[name]):
                label = labels(training)["advantage"][spare] > 0
                logits = [np.log((s + 1e-6) / (1 - s + 1e-6))[:, None] for s in (one.spare, one.held_out)]
                x = np.concatenate([columns(training, groups)[spare], logits[0]], 1)
                head = fit(x, label, LINEAR if groups == ("common", "draft") else SMALL, seed)
                both.append(head.scores(np.concatenate([columns(held_out, groups), logits[1]], 1)))
            found[f"{name} + {'reader' if groups == ('reader',) else LEARNER}"] = both
    return found


def chooser(policy: Policy, threshold: float) -> collect.Choose:
    """Commit what the policy decides."""

    def choose(states: Sequence[State], turns: Sequence[Turn]) -> list[Author]:
        return ["target" if score > threshold else "draft" for score in policy(states, turns)]

    return choose


def text_policy(router: classifier.TextRouter, annotated: bool) -> Policy:
    """The classifier as a policy."""
    encoder = classifier.encoder_of(bundled_path("prm"), annotated)

    def policy(states: Sequence[State], turns: Sequence[Turn]) -> Floats:
        pairs = [collect.pair(s, t, "draft", "") for s, t in zip(states, turns, strict=True)]
        return router.scores([classifier.tree([pair], encoder) for pair in pairs])

    return policy


def again_on_own_prefixes(
    world: World, work: Path, problems: Sequence[Problem], fresh: Sequence[Problem], training: Table, held_out: Table
) -> dict[str, object]:
    """DAgger: pairs on the prefixes that a router itself leads to, added to the others; judged on both kinds."""
    candidate = CANDIDATES[LEARNER]
    scorer = candidate.fit(training, 0)
    choose = chooser(on_tables(scorer), cutoff(scorer(held_out), RATE))
    _, own = collect.collect(world, problems, choose, work / "own-training", LEARNER)
    _, unseen = collect.collect(world, fresh, choose, work / "own-held-out", LEARNER)
    found: dict[str, object] = {"pairs_added": len(own.common), "held_out_pairs": len(unseen.common)}
    for name in (LEARNER, "reader (as shipped, fitted here)", "target's log-probs"):
        more = Table.joined([training, own])
        for kind, table in (("oracle's prefixes", training), ("and its own", more)):
            scorers = [CANDIDATES[name].fit(table, seed) for seed in range(3)]
            for where, on in (("oracle's", held_out), ("own", unseen)):
                found[f"{name} | {kind} | {where}"] = judged([s(on) for s in scorers], on)
    return found


def judged(seeds: Sequence[Floats], table: Table) -> dict[str, list[float | None]]:
    """All measures of one candidate: value, lower and upper end."""
    found = quality.judge(seeds, table.advantage, table.outcome_advantage(0), table.problems)
    return {name: [one.value, one.low, one.high] for name, one in found.items()}


def routed(
    world: World,
    problems: Sequence[Problem],
    fitted: Mapping[str, Scorer],
    text: Policy,
    text_scores: Floats,
    on: Table,
) -> dict[str, object]:
    """Every policy at every rate on the same problems, with its own decisions."""
    policies: dict[str, Policy] = {name: on_tables(scorer) for name, scorer in fitted.items()}
    policies |= {CLASSIFIER: text, "random": replay.at_random}
    levels = {name: scorer(on) for name, scorer in fitted.items()} | {CLASSIFIER: text_scores}
    levels["random"] = np.linspace(0, 1, 1001)
    arms = {
        f"{name} @ {rate}": Arm(name, cutoff(levels[name], rate))
        for name in policies
        if not name.startswith("oracle")
        for rate in REPLAYED_RATES
    }
    arms |= {
        "draft only": Arm("random", 2.0),
        "target only": Arm("random", -1.0),
        "oracle (Δ > 0)": Arm("oracle (Δ itself)", 0.0),
    }
    done = replay.replay(world, problems, policies, arms)
    return {
        name: {"policy": arms[name].policy, "walked": [one.as_json() for one in walked]}
        for name, walked in done.items()
    }


def kept(file: Path, make: Callable[[], dict[str, object]]) -> dict[str, object]:
    """What the file holds; made and written the first time."""
    if not file.exists():
        file.with_suffix(".part").write_text(json.dumps(make()))
        file.with_suffix(".part").rename(file)
    content: dict[str, object] = json.loads(file.read_text())
    return content


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("work/study"))
    parser.add_argument("--out", type=Path, default=Path("runs/router-study"))
    parser.add_argument("--training", type=int, default=1600, help="problems to learn from")
    parser.add_argument("--held-out", type=int, default=400, help="problems to judge by")
    parser.add_argument("--replayed", type=int, default=300, help="of these, problems that are routed for real")
    parser.add_argument(
        "--timed", type=int, default=120, help="of these, problems that the library solves by the clock"
    )
    parser.add_argument("--own", type=int, default=1600, help="problems of each kind collected again on own prefixes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--text-seeds", type=int, default=3, help="of the classifiers on text")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    work, seeds = arguments.work, range(arguments.seeds)
    problems = list(itertools.islice(generate(Split.ROUTER), PROBLEMS + arguments.held_out))
    learnt, fresh = problems[: arguments.training], problems[PROBLEMS:]  # held out: what the shipped router never saw
    world = World()
    held_out_pairs, held_out = collect.collect(world, fresh, collect.better, work / "held-out", "oracle")
    training_pairs, training = collect.collect(world, learnt, collect.better, work / "training", "oracle")
    head = shipped_head()
    scores = scored(training, held_out, head, seeds)
    text_scores = texts.scores(
        work / "text",
        training_pairs,
        training.problems,
        held_out_pairs,
        range(arguments.text_seeds),
    )
    scores |= with_text(training, held_out, text_scores)

    fitted = references(head) | {name: CANDIDATES[name].fit(training, 0) for name in REPLAYED}
    text = text_policy(texts.load(work / "text", CLASSIFIER, 0), annotated=True)
    walked = kept(
        work / "replay.json",
        lambda: routed(world, fresh[: arguments.replayed], fitted, text, text_scores[CLASSIFIER][0].held_out, held_out),
    )
    own = kept(
        work / "own.json",
        lambda: again_on_own_prefixes(world, work, learnt[: arguments.own], fresh[: arguments.own], training, held_out),
    )
    cost = kept(work / "costs.json", lambda: dict(costs.measure(held_out_pairs, head, arguments.threads)))
    least = {rate: float(np.quantile(held_out.draft[:, 0], rate)) for rate in (0.3, 0.4, 0.5)}
    timed = kept(work / "clock.json", lambda: clock.measure(fresh[: arguments.timed], least, arguments.threads))
    quality_of = {name: judged(many, held_out) for name, many in scores.items()}
    report.write(arguments.out, vars(arguments), quality_of, held_out, training, walked, own, cost, timed)


if __name__ == "__main__":
    main()
