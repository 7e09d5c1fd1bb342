"""`arbitrage router collect` and `stats` as typed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

from arbitrage.cli import main
from arbitrage.harness.router.pairs import finished_problems, read_manifest, read_pairs


@pytest.fixture
def collected(shared: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Pairs of six problems by scripted models."""
    command = ["router", "collect", "--out", str(tmp_path / "pairs"), "--backend", "scripted", "--limit", "6"]
    assert main([*command, "--concurrency", "3"]) == 0
    printed = capsys.readouterr()
    assert "6/6  collecting: 12 steps, 12 pairs stored, label 1 50%" in printed.err
    assert "escalated" in printed.out
    return tmp_path / "pairs"


def test_pairs_are_collected_and_looked_at(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second step of the draft is wrong, and the target's is right."""
    pairs = list(read_pairs(collected))
    assert {(p.index, p.committed, p.label) for p in pairs} == {(0, "draft", False), (1, "target", True)}
    assert main(["router", "stats", str(collected)]) == 0
    shown = capsys.readouterr().out
    assert "+0.6 .. +0.7         0" in shown
    assert "+0.7 .. +0.8         6  ########################################" in shown
    assert main(["router", "stats", str(collected), str(collected), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["problems"], found["steps"], found["label_1_share"]) == (6, 24, 0.5)


def test_the_same_command_goes_on_and_another_is_refused(collected: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """More problems are added; a router's roll-in belongs into a folder of its own; bad words are explained."""
    command = ["router", "collect", "--out", str(collected), "--backend", "scripted"]
    assert main([*command, "--limit", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == 8
    assert len(read_manifest(collected)["sessions"]) == 2
    assert main([*command, "--limit", "8", "--roll-in", "arbitrage-router:rate=0.4"]) == 2
    assert "made in another way" in capsys.readouterr().err
    own = str(collected.with_name("own"))
    assert main([*command[:3], own, *command[4:], "--limit", "2", "--roll-in", "arbitrage-router:rate=0.4"]) == 0
    assert {p.roll_in for p in read_pairs(Path(own))} == {"arbitrage-router (rate=0.4) of scripted-scorer"}
    capsys.readouterr()
    for words, told in (
        (["--samples", "3"], "greedy"),
        (["--roll-in", "token-sd"], "roll-in"),
        (["--decontaminate", "nosuch"], "nosuch"),
        (["--outcome-policy", "prm"], "prm"),
    ):
        assert main([*command, "--limit", "2", *words]) == 2
        assert told in capsys.readouterr().err
    assert main(["router", "stats", str(collected.with_name("empty"))]) == 2
    assert "router collect" in capsys.readouterr().err


def test_a_collection_in_which_every_problem_failed_says_so(
    shared: object, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its exit code too; one that finished some problems is none."""
    from arbitrage.harness.router import collect

    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    command = ["router", "collect", "--out", str(tmp_path / "pairs"), "--backend", "scripted"]
    with monkeypatch.context() as patched:
        patched.setattr(collect, "record", broken)
        assert main([*command, "--limit", "2"]) == 1
        assert "2 problems failed" in capsys.readouterr().err
    assert main([*command, "--limit", "2"]) == 0
    with monkeypatch.context() as patched:
        patched.setattr(collect, "record", broken)
        assert main([*command, "--limit", "3"]) == 0
        assert "1 problems failed" in capsys.readouterr().err


def test_outcomes_and_decontamination_are_said(
    shared: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A problem of the evaluation file is left out, listed, and counted; outcomes stand below the tables."""
    rows = [{"problem": f"1 + 1, version {i}?", "answer": "2"} for i in range(4)]
    train, held = tmp_path / "train.jsonl", tmp_path / "held.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    held.write_text(json.dumps(rows[0]) + "\n")
    words = ["--dataset", str(train), "--decontaminate", str(held), "--outcomes", "1", "--backend", "scripted"]
    assert main(["router", "collect", "--out", str(tmp_path / "pairs"), *words]) == 0
    printed = capsys.readouterr()
    assert "note: 1 of 4 problems are left out" in printed.err
    assert "target_step_helps 3" in printed.out
    (line,) = (tmp_path / "pairs" / "removed.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"] == "same text"
    assert len(finished_problems(tmp_path / "pairs")) == 3


@pytest.mark.slow
def test_a_real_interrupt_keeps_what_is_finished_and_a_second_call_completes_it(tmp_path: Path) -> None:
    """Ctrl-C in a process of its own, on the bundled models; the pairs are then those of an undisturbed collection."""
    pytest.importorskip("torch")

    def command(name: str) -> list[str]:
        words = ["--limit", "12", "--threads", "1", "--concurrency", "3", "--max-tokens", "150"]
        return [sys.executable, "-m", "arbitrage", "router", "collect", "--out", str(tmp_path / name), *words]

    with subprocess.Popen(command("stopped"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as stopped:
        assert stopped.stderr is not None
        while not stopped.stderr.readline().startswith("4/12"):
            assert stopped.poll() is None
        stopped.send_signal(signal.SIGINT)
        rest = stopped.stderr.read()
    assert stopped.returncode == 130
    assert "the same command goes on" in rest
    assert 4 <= len(finished_problems(tmp_path / "stopped")) < 12
    for name in ("stopped", "whole"):
        subprocess.run(command(name), check=True, capture_output=True, timeout=300)

    def pairs(name: str) -> list[tuple[object, ...]]:
        found = sorted(read_pairs(tmp_path / name), key=lambda p: (p.problem_id, p.index))
        return [(p.problem_id, p.index, p.draft_ids, p.targets, p.committed, p.prefix_ids) for p in found]

    assert pairs("stopped") == pairs("whole")
    assert len({name for name, *_ in pairs("whole")}) == 12
