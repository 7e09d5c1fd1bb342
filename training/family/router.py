"""The router: step pairs scored by the PRM, then a classifier that guesses from the draft's step alone.

python -m training.family.router --work work/family
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import torch

from arbitrage.harness.synthetic import Split, generate
from training.family.classifier import Stream, encode, encoder_for, load, scores, train
from training.family.measures import ranking_report, router_report, thresholds
from training.family.rolling import Choice, Pair, Walk, roll
from training.family.writing import Pen

PROBLEMS = 2400
HELD_OUT = 400
EPOCHS = 3
LEARNING_RATE = 1e-3
SEED = 31


def collect(work: Path, draft: Pen, target: Pen) -> list[Pair]:
    """Step pairs under the better-of-two roll-in; kept in pairs.jsonl."""
    file = work / "router/pairs.jsonl"
    if file.exists():
        return [Pair.from_json(json.loads(line)) for line in file.open()]
    prm = load(work / "prm/model")
    encoder = encoder_for(draft.tokenizer, annotated=False)

    def reward(walks: Sequence[Walk], texts: Sequence[str]) -> list[float]:
        streams = [
            encode(encoder, w.problem.problem, [*w.steps, (text, "draft")], [*([None] * len(w.steps)), 1])
            for w, text in zip(walks, texts, strict=True)
        ]
        return [row[0] for row in scores(prm, streams)]

    def better(walks: Sequence[Walk], drafts: Sequence[str], targets: Sequence[str]) -> list[Choice]:
        s_d, s_t = reward(walks, drafts), reward(walks, targets)
        # Equal texts have equal rewards; their batches may differ in the last bits.
        s_t = [d if a == b else t for d, t, a, b in zip(s_d, s_t, drafts, targets, strict=True)]
        return [("target" if t > d else "draft", d, t) for d, t in zip(s_d, s_t, strict=True)]

    problems = list(itertools.islice(generate(Split.ROUTER, 0), PROBLEMS + HELD_OUT))
    pairs = roll(problems, draft, target, better, "router")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as out:
        out.writelines(json.dumps(pair.as_json()) + "\n" for pair in pairs)
    return pairs


def stream(encoder: object, pair: Pair) -> Stream:
    """History as committed, the draft's step as candidate, the label at its end."""
    steps = [*pair.history, (pair.draft, "draft")]
    return encode(encoder, pair.statement, steps, [*([None] * len(pair.history)), int(pair.advantage > 0)])  # type: ignore[arg-type]


def balanced(streams: Sequence[Stream], seed: int) -> list[Stream]:
    """Random downsampling of the majority class."""
    classes: dict[int, list[Stream]] = {0: [], 1: []}
    for one in streams:
        classes[one.labels[-1]].append(one)
    size = min(map(len, classes.values()))
    rng = random.Random(seed)
    return [one for members in classes.values() for one in rng.sample(members, size)]


def regime(pairs: Sequence[Pair]) -> dict[str, float]:
    """What kind of steps these are, by the exact checker, after right prefixes."""
    clean = [p for p in pairs if p.history_right]
    wrong = [p for p in clean if not p.draft_right]
    return {
        "steps": len(pairs),
        "after_a_right_prefix": round(len(clean) / len(pairs), 4),
        "draft_right": round(sum(p.draft_right for p in clean) / len(clean), 4),
        "target_right": round(sum(p.target_right for p in clean) / len(clean), 4),
        "target_wrong_where_draft_wrong": round(sum(not p.target_right for p in wrong) / len(wrong), 4),
        "advantage_positive": round(sum(p.advantage > 0 for p in pairs) / len(pairs), 4),
        "ties": round(sum(p.advantage == 0 for p in pairs) / len(pairs), 4),
    }


def confidence(draft: Pen, pairs: Sequence[Pair]) -> list[float]:
    """Mean log-probability of the draft's own step."""
    out = []
    with torch.inference_mode():
        for pair in pairs:
            ids = torch.tensor([[*pair.prefix_ids, *pair.draft_ids]])
            n = len(pair.draft_ids)
            rows = draft.model(ids, logits_to_keep=n + 1).logits[0, :-1].log_softmax(-1)
            out.append(float(rows[range(n), list(pair.draft_ids)].mean()))
    return out


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("work/family"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    work: Path = arguments.work
    draft, target = Pen(work / "draft/model"), Pen(work / "target/model")
    pairs = collect(work, draft, target)
    names = list(dict.fromkeys(p.problem_id for p in pairs))
    kept_out = set(names[PROBLEMS:])
    held_out = [p for p in pairs if p.problem_id in kept_out]
    encoder = encoder_for(draft.tokenizer, annotated=True)
    training = balanced([stream(encoder, p) for p in pairs if p.problem_id not in kept_out], SEED)
    model = load(work / "prm/model")
    curve = train(model, training, EPOCHS, LEARNING_RATE, SEED, "router")
    given = [row[0] for row in scores(model, [stream(encoder, p) for p in held_out])]
    advantages = [p.advantage for p in held_out]
    rewards = [p.draft_reward for p in held_out if p.draft_reward is not None]
    report = {
        "router": router_report(given, advantages),
        "minus_draft_reward": ranking_report([-r for r in rewards], advantages),
        "minus_draft_confidence": ranking_report([-c for c in confidence(draft, held_out)], advantages),
        "regime": regime(held_out),
        "training_steps": len(training),
    }
    out = work / "router"
    model.to(torch.bfloat16).save_pretrained(out / "model")
    draft.tokenizer.save_pretrained(out / "model")
    (out / "thresholds.json").write_text(json.dumps(thresholds(given, escalates_above=True)))
    (work / "prm/thresholds.json").write_text(json.dumps(thresholds(rewards, escalates_above=False)))
    (out / "report.json").write_text(json.dumps({"held_out": report, "curve": curve}, indent=1))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
