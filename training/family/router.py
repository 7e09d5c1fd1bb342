"""The router: from the PRM's reading of the draft's step alone, would the target's version be rewarded more?

python -m training.family.router --work work/family
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from arbitrage.backends.hf.likelihood import FEATURES, AdvantageHead, Calibration, Reading, readout
from arbitrage.harness.datasets import ROUTER_PROBLEMS
from arbitrage.harness.router.calibrate import threshold_table
from arbitrage.harness.router.measures import RATES, ranking_report, router_report
from arbitrage.harness.synthetic import Split, generate
from arbitrage.strategies.confidence import confidence
from training.family.prm import Reader, so_far
from training.family.rolling import Choice, Pair, Walk, roll
from training.family.writing import Pen

HELD_OUT = 400
PROBLEMS = ROUTER_PROBLEMS - HELD_OUT
UNITS = 16
STEPS, LEARNING_RATE, WEIGHT_DECAY = 1500, 1e-2, 1e-4
SEED = 31


def collect(work: Path, draft: Pen, target: Pen, reader: Reader) -> list[Pair]:
    """Step pairs under the better-of-two roll-in; kept in pairs.jsonl."""
    file = work / "router/pairs.jsonl"
    if file.exists():
        return [Pair.from_json(json.loads(line)) for line in file.open()]
    fitted = json.loads((work / "prm/report.json").read_text())["held_out"]
    calibration = Calibration(fitted["offset"], fitted["slope"])

    def reward(walks: Sequence[Walk], texts: Sequence[str]) -> list[float]:
        readings = reader.readings([(w.problem.problem, [*w.texts, t]) for w, t in zip(walks, texts, strict=True)])
        return [calibration.reward(so_far(row)[-1]) for row in readings]

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


def read(pairs: Sequence[Pair], reader: Reader) -> list[Reading]:
    """The draft's step of each pair after the history as committed: what the router sees."""
    rows = reader.readings([(p.statement, [*(text for text, _ in p.history), p.draft]) for p in pairs])
    found = []
    for pair, row in zip(pairs, rows, strict=True):
        before = max((one.surprise for one in row[:-1]), default=0.0)
        by_target = sum(author == "target" for _, author in pair.history)
        found.append(Reading.of(row[-1], before, len(pair.history), by_target))
    return found


def balanced(labels: Sequence[bool], seed: int) -> list[int]:
    """Random downsampling of the majority class: which ones stay."""
    classes = [[i for i, label in enumerate(labels) if label is value] for value in (False, True)]
    size = min(map(len, classes))
    rng = random.Random(seed)
    return [i for members in classes for i in rng.sample(members, size)]


def fit(readings: Sequence[Reading], labels: Sequence[bool]) -> tuple[dict[str, object], list[dict[str, float]]]:
    """The head as the sidecar holds it, and its learning curve. Full batches of AdamW, cosine decay."""
    torch.manual_seed(SEED)
    x = torch.tensor([astuple(one) for one in readings], dtype=torch.float64)
    y = torch.tensor(labels, dtype=torch.float64)
    mean, scale = x.mean(0), x.std(0) + 1e-6
    first, last = torch.nn.Linear(len(FEATURES), UNITS).double(), torch.nn.Linear(UNITS, 1).double()
    net = torch.nn.Sequential(first, torch.nn.Tanh(), last)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    curve = []
    for step in range(STEPS):
        loss = binary_cross_entropy_with_logits(net((x - mean) / scale)[:, 0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        if step % 100 == 99:
            curve.append({"step": step + 1, "loss": round(loss.item(), 5)})

    def rounded(values: torch.Tensor) -> object:
        return np.round(values.detach().numpy(), 5).tolist()

    head = {
        "features": list(FEATURES),
        "mean": rounded(mean),
        "scale": rounded(scale),
        "hidden": rounded(torch.cat([first.weight, first.bias[:, None]], 1)),
        "output": rounded(torch.cat([last.weight[0], last.bias])),
    }
    return head, curve


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


def log_probabilities(draft: Pen, pairs: Sequence[Pair]) -> list[list[float]]:
    """Of each token of the draft's own step."""
    out: list[list[float]] = []
    with torch.inference_mode():
        for pair in pairs:
            ids = torch.tensor([[*pair.prefix_ids, *pair.draft_ids]])
            n = len(pair.draft_ids)
            rows = draft.model(ids, logits_to_keep=n + 1).logits[0, :-1].log_softmax(-1)
            out.append(rows[range(n), list(pair.draft_ids)].tolist())
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
    reader = Reader(work / "reader/model")
    pairs = collect(work, draft, target, reader)
    names = list(dict.fromkeys(p.problem_id for p in pairs))
    kept_out = set(names[PROBLEMS:])
    held_out = [p for p in pairs if p.problem_id in kept_out]
    training = [p for p in pairs if p.problem_id not in kept_out]
    readings, labels = read(training, reader), [p.advantage > 0 for p in training]
    kept = balanced(labels, SEED)
    settings, curve = fit([readings[i] for i in kept], [labels[i] for i in kept])
    head = readout(settings)
    assert isinstance(head, AdvantageHead)
    given = [head.score(one) for one in read(held_out, reader)]
    advantages = [p.advantage for p in held_out]
    rewards = [p.draft_reward for p in held_out if p.draft_reward is not None]
    own = log_probabilities(draft, held_out)
    report = {
        "router": router_report(given, advantages),
        "minus_draft_reward": ranking_report([-r for r in rewards], advantages),
        "minus_draft_confidence": ranking_report([-fmean(one) for one in own], advantages),
        "regime": regime(held_out),
        "training_steps": len(kept),
    }
    out = work / "router"
    (out / "head.json").write_text(json.dumps(settings))
    (out / "thresholds.json").write_text(json.dumps(threshold_table(given, rates=RATES)))
    least = [confidence(tuple(one)) for one in own]
    (work / "draft/thresholds.json").write_text(json.dumps(threshold_table(least, "prm", RATES)))
    (work / "prm/thresholds.json").write_text(json.dumps(threshold_table(rewards, "prm", RATES)))
    (out / "report.json").write_text(json.dumps({"held_out": report, "curve": curve}, indent=1))
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
