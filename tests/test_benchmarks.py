"""The scripts under benchmarks/ run, and what they check by themselves is checked."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from arbitrage import load_dataset, run_benchmark
from arbitrage.backends.bundled import bundled_gguf
from arbitrage.backends.loading import load_models
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.interfaces import Models, StopReason
from arbitrage.strategies import ArbitrageRouter, TargetOnly
from arbitrage.types import Problem, Role, StepRecord

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

Script = Callable[[str], ModuleType]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    """Imports a script as if it were started in its folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)


@pytest.fixture
def run(script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs a script with arguments; its results by the name of their file."""

    def call(name: str, *arguments: object) -> dict[str, Any]:
        out = tmp_path / "out"
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments), "--out", str(out)])
        script(name).main()
        found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*results.json")}
        assert all((out / file.replace("results.json", "table.txt")).read_text(encoding="utf-8") for file in found)
        return found

    return call


def gguf_target() -> Models:
    pytest.importorskip("llama_cpp")
    return load_models("gguf", roles=[Role.TARGET], target=f"gguf:{bundled_gguf('target', 'q8_0')}", threads=1)


class TestScripts:
    def test_assisted_compares_the_same_texts_and_reports_the_best_of_theirs(self, run: Callable[..., Any]) -> None:
        results = run("assisted", "--limit", 1, "--max-tokens", 24)["results.json"]
        lines = {row["line"]: row for row in results["rows"]}
        assert set(lines) == {"alone", "assisted by the draft", "prompt lookup"}
        for row in lines.values():
            assert row["same_text"] == row["problems"] == 1
            assert all(same == 1 for same in row["theirs_same_as_generate"].values())
            least = min(estimate[0] for estimate in row["ours_over_theirs"].values())
            assert row["ours_over_theirs"][row["best_of_theirs"]][0] == least

    def test_llama_speculative_without_the_example_says_what_it_compares_with(self, run: Callable[..., Any]) -> None:
        pytest.importorskip("llama_cpp")
        results = run("llama_speculative", "--limit", 1, "--max-tokens", 32, "--lengths", 3)["results.json"]
        assert "prompt lookup" in results["against"]
        assert [row["same_text"] for row in results["rows"]] == [1, 1]

    def test_llama_speculative_stops_where_the_example_fails(
        self, script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Figures of a run that failed would be worse than none."""
        pytest.importorskip("llama_cpp")
        binary = tmp_path / "example"
        binary.write_text("#!/bin/sh\necho no such flag >&2\nexit 3\n")
        binary.chmod(0o755)
        monkeypatch.setattr(sys, "argv", ["llama_speculative.py", "--binary", str(binary), "--limit", "1"])
        with pytest.raises(SystemExit, match=r"code 3:\n(.|\n)*no such flag"):
            script("llama_speculative").main()

    def test_a_pair_without_prm_and_router_gets_both_and_is_measured(
        self, script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """From two GGUF files to seconds; what is written beside a model stays in the folder."""
        pytest.importorskip("llama_cpp")
        pytest.importorskip("gguf")
        pytest.importorskip("pyarrow")
        models = tmp_path / "models"
        models.mkdir()
        for role, precision in (("draft", "q8_0"), ("target", "q2_k")):
            shutil.copy(bundled_gguf(role, precision), models / f"{role}.gguf")
        problems = load_dataset("bundled-train", limit=300).problems
        lines = [json.dumps({"id": one.id, "problem": one.problem, "answer": one.answers[0]}) for one in problems]
        (tmp_path / "train.jsonl").write_text("\n".join(lines))
        monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS.parent))
        given = [
            "--draft",
            models / "draft.gguf",
            "--target",
            models / "target.gguf",
            "--train",
            tmp_path / "train.jsonl",
        ]
        sizes = ["--solve", 60, "--pairs", 50, "--limit", 6, "--timed", 6, "--max-tokens", 300, "--concurrency", 8]
        work = tmp_path / "work"
        words = [*given, "--work", work, *sizes, "--layers", 1, 2, "--evaluate", "bundled"]
        script("real_pair").main([str(word) for word in words])
        for stage in ("accuracy", "seconds"):
            rows = [json.loads(line) for line in (work / f"{stage}-bundled" / "rows.jsonl").read_text().splitlines()]
            assert len(rows) == 7 * 6
            assert {row["status"] for row in rows} <= {"correct", "incorrect", "unparsed"}
        manifest = json.loads((work / "seconds-bundled" / "manifest.json").read_text())
        assert manifest["identity"].get("concurrency", 1) == 1
        assert {path.name for path in models.iterdir()} == {"draft.gguf", "target.gguf"}
        for sidecar in ("prm/arbitrage.json", "router/arbitrage.json", "calibrated/draft.arbitrage.json"):
            assert json.loads((work / sidecar).read_text())["thresholds"]
        made = {path: path.stat().st_mtime_ns for path in work.rglob("rows.jsonl")}
        script("real_pair").main([str(word) for word in words])  # again, to go on
        assert {path: path.stat().st_mtime_ns for path in work.rglob("rows.jsonl")} == made

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"--train": "absent.jsonl"}, "absent.jsonl is no file"),
            ({"--pairs": "50"}, "has 3 problems that are not in --evaluate, too few for --solve 1 and --pairs 50"),
            ({"--draft": "train.jsonl"}, "take another --work"),
        ],
    )
    def test_a_real_pair_says_what_it_cannot_begin_with(
        self,
        changed: dict[str, str],
        message: str,
        script: Script,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: Any,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        rows = [{"id": i, "problem": f"What is {i} times {i}?", "answer": str(i * i)} for i in range(3)]
        Path("train.jsonl").write_text("\n".join(map(json.dumps, [*rows, {**rows[0], "id": 9}])))
        Path("draft.gguf").touch()
        Path("target.gguf").touch()
        told = {"--draft": "draft.gguf", "--target": "target.gguf", "--train": "train.jsonl", "--work": "work"}
        told |= {"--solve": "1", "--pairs": "1", "--evaluate": "bundled"}
        prepared = script("real_pair")
        prepared.prepare(prepared.parser().parse_args([word for pair in told.items() for word in pair]))
        with pytest.raises(SystemExit):
            prepared.main([word for pair in (told | changed).items() for word in pair])
        assert message in capsys.readouterr().err

    def test_stateless_ways_write_what_ours_writes(self, run: Callable[..., Any]) -> None:
        arguments = ("--limit", 2, "--long-limit", 1, "--long-tokens", 64)
        rows = run("stateless", *arguments)["results.json"]["rows"]
        assert [row["same_text"] for row in rows] == [2, 2, 1, 1]
        long = rows[2:]
        assert all(row["steps"] == 4 and row["tokens"] == 64 for row in long)
        assert all(row["escalated"] == pytest.approx(1 / 4) for row in long)

    def test_stateless_stops_where_texts_part(
        self, run: Callable[..., Any], script: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stateless way that never escalates is noticed, on problems of which the draft gets some wrong."""
        wrong = {"arbitrage-router": (ArbitrageRouter(threshold=0.5), Role.ROUTER, 1.0)}
        monkeypatch.setattr(script("stateless"), "METHODS", wrong)
        with pytest.raises(SystemExit, match="are not the same"):
            run("stateless", "--limit", 6, "--long-limit", 1, "--long-tokens", 16)

    def test_scaling_measures_time_and_memory(self, run: Callable[..., Any]) -> None:
        arguments = ("--tokens", 256, "--steps", 5, "--repeats", 1, "--held", 128, "--backends", "hf")
        results = run("scaling", *arguments)
        assert len(results["time-results.json"]["rows"]) == 4
        (memory,) = results["memory-results.json"]["rows"]
        assert memory["ratio"] >= 1

    def test_throughput_compares_with_one_at_a_time(self, run: Callable[..., Any]) -> None:
        rows = run("throughput", "--limit", 3, "--at-once", 2, "--backends", "hf")["results.json"]["rows"]
        assert [row["at_once"] for row in rows] == [1, 2] * 3
        assert all(row["same_text"] + len(row["divergences"]) == 3 for row in rows)

    def test_overlap_compares_the_same_texts(self, run: Callable[..., Any]) -> None:
        rows = run("overlap", "--limit", 1, "--backends", "hf")["results.json"]["rows"]
        assert [row["way"] for row in rows] == ["pipeline", "catch_up", "both"] * 3
        assert all(row["same_text"] == row["problems"] == 1 for row in rows)

    def test_threads_are_compared_with_what_was_chosen(
        self, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("arbitrage.backends.threads.measure", lambda threads, passes, counts, clock: {1: 0.5})
        monkeypatch.setattr("arbitrage.cpu.available_cores", lambda: 1)
        rows = run("threads", "--limit", 1, "--backends", "hf")["results.json"]["rows"]
        assert [(row["method"], row["way"]) for row in rows] == [
            (method, way) for method in ("target-only", "router") for way in ("one", "all cores")
        ]
        assert all(row["chosen"] == {"torch": 1} and row["measured"] == {"torch": {"1": 0.5}} for row in rows)

    def test_reuse_compares_the_same_texts(self, run: Callable[..., Any]) -> None:
        rows = run("reuse", "--limit", 3, "--pairs", "small draft, hf")["results.json"]["rows"]
        assert rows[0]["method"] == "random"
        assert all(row["same_text"] == row["problems"] == 3 for row in rows)

    def test_the_forward_pass_is_compared_in_all_ways(self, run: Callable[..., Any]) -> None:
        rows = run("forward_pass", "--rounds", 1)["results.json"]["rows"]
        assert {row["model"] for row in rows} == {"draft", "target"}
        assert all(set(row["median_s"]) == {"lean, packed", "lean", "transformers"} for row in rows)

    def test_choosing_compares_both_ways(self, run: Callable[..., Any]) -> None:
        rows = run("choosing", "--rounds", 1)["results.json"]["rows"]
        assert [(row["vocabulary"], row["rows"]) for row in rows[:2]] == [(512, 1), (512, 8)]
        assert all(min(row["median_s"]) > 0 for row in rows)

    def test_gpu_runs_on_a_cpu_with_toy_sizes(self, run: Callable[..., Any]) -> None:
        results = run("gpu", "--tiny", "--device", "cpu", "--problems", 1, "--limit", 1, "--repeats", 1)
        kinds = sorted(name.rpartition("tiny-")[2] for name in results)
        assert kinds == ["bundled-results.json", "floor-results.json", "latency-results.json"]
        (latency,) = (results[name] for name in results if "latency" in name)
        escalated = [row["escalated"] for row in latency["rows"] if "router" in row["strategy"]]
        assert escalated[0] == 0
        assert escalated == sorted(escalated)
        assert escalated[-1] == 1


def test_a_replayed_problem_has_the_recorded_lengths(script: Script) -> None:
    """At rate 0 the draft's, at rate 1 the target's, its own alone as well: the work is that of the recorded run."""
    gpu = script("gpu")
    replay = gpu.Replay(gpu.random_models("cpu", torch.float32, tiny=True))
    traced = gpu.Traced(Problem("p", "5 5 5", ("",)), [(4, None, 0.9), (3, 6, 0.2), (5, 2, 0.1)])

    def lengths(strategy: Any, rate: float) -> list[int]:
        generation, _ = replay.solve(strategy, traced, rate)
        assert generation.prompt_tokens == 3
        assert generation.end_reason == "eos"
        return [step.tokens for step in generation.steps]

    router = ArbitrageRouter(threshold=0.5)
    assert lengths(router, 0.0) == [4, 3, 5]
    assert lengths(router, 0.15) == [4, 3, 2]
    assert lengths(router, 1.0) == lengths(TargetOnly(), 0.0) == [4, 6, 2]


def test_the_committed_trace_can_be_replayed(script: Script) -> None:
    problems, source = script("gpu").read_trace(script("step_trace").TRACE, 100)
    assert len(problems) >= 6
    assert source["strategy"].startswith("random-route")
    for traced in problems:
        assert all(drafted > 0 and 0 <= score <= 1 for drafted, _, score in traced.steps)


def test_paced_steps_are_as_long_as_told_and_cut_by_the_budget(script: Script) -> None:
    from arbitrage.interfaces import Stop
    from arbitrage.sampling import Sampling

    paced, variants = script("paced"), script("model_variants")
    target = variants.endless(gguf_target().language(Role.TARGET))
    model = paced.Paced(target, lambda: (7, StopReason.SEPARATOR))
    with model.open([5, 6]) as session:
        rng = np.random.default_rng(0)
        whole, cut = (session.generate(Stop(most), Sampling(), rng) for most in (20, 3))
    assert (len(whole.ids), whole.reason) == (7, StopReason.SEPARATOR)
    assert (len(cut.ids), cut.reason) == (3, StopReason.LENGTH)


def test_fit_finds_the_terms_of_a_curve(script: Script) -> None:
    scaling = script("scaling")
    positions = [0.5, 1.0, 1.5, 2.0]
    seconds = [4 + 1 * p + 0.5 * p**2 for p in positions]
    shares = scaling.fit(scaling.Curve(positions, [seconds], [1.0]))
    assert [shares.constant.value, shares.linear.value, shares.quadratic.value] == pytest.approx([0.5, 0.25, 0.25])


def test_where_texts_part_the_margin_is_that_of_the_two_tokens(script: Script) -> None:
    """The model's own greedy text never loses to another token, and the difference is that of the logits."""
    near_ties = script("near_ties")
    target = gguf_target().language(Role.TARGET)
    with target.open([5, 6, 7]) as session:
        (row,) = session.extend((), logits=1)
    best, other = (int(token) for token in row.argsort()[::-1][:2])
    seen = near_ties.margin(target, [5, 6], [7], ours=other, theirs=best)
    assert seen.token_by_token == pytest.approx(float(row[best] - row[other]), abs=0.05)
    assert seen.token_by_token > 0
    assert near_ties.first_difference([1, 2, 3], [1, 2, 4, 5]) == 2
    assert near_ties.first_difference([1, 2], [1, 2, 4]) is None


def test_a_parting_is_put_to_the_model_that_wrote_the_token(script: Script) -> None:
    throughput = script("throughput")
    models = gguf_target()
    problem = load_dataset("bundled")[0]
    (alone,) = run_benchmark(TargetOnly(), models, dataset=[problem], baseline=False, warmup=0, progress=False).rows
    at = alone.steps[0].tokens + 1
    other = (*alone.token_ids[:at], alone.token_ids[at] ^ 1, *alone.token_ids[at + 1 :])
    parted = Row(
        strategy="target-only",
        problem_id=problem.id,
        repeat=0,
        status=RowStatus.INCORRECT,
        reference="",
        started_at="",
        latency_s=1.0,
        token_ids=other,
        steps=tuple(StepRecord(i, "", "target", step.tokens) for i, step in enumerate(alone.steps)),
    )
    (found,) = throughput.partings(models, {problem.id: problem}, [(parted, alone), (alone, alone)])
    assert found["token"] == at
    assert found["authors"] == ["target", "target"]
    assert found["margin"] > 0
