"""The command line: strategies with parameters, listings, errors, one solution, a comparison."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import pytest

from arbitrage import __version__
from arbitrage.cli import main
from arbitrage.cli.inventory import KINDS
from arbitrage.errors import UnknownNameError
from arbitrage.hooks import Register, hookimpl
from arbitrage.interfaces import Backend, LanguageModel, Models, StepScorer, Strategy
from arbitrage.registry import Registry
from arbitrage.strategy_specs import SpecError, parse_strategies, parse_strategy
from arbitrage.testing import ScriptedModel, ScriptedScorer
from arbitrage.types import Generation, Problem, Role


class Typed(Strategy):
    """A strategy with one parameter of each readable type."""

    name = "typed"
    requires = frozenset()

    def __init__(
        self,
        threshold: float = 0.5,
        rate: float | None = None,
        gamma: int | Literal["adaptive"] = "adaptive",
        greedy: bool = False,
        mode: Literal["draft", "ngram"] = "draft",
        inner: Strategy | None = None,
    ) -> None:
        if rate is not None and not 0 <= rate <= 1:
            raise ValueError(f"rate must be in [0, 1], not {rate}")
        self.given = (threshold, rate, gamma, greedy, mode, inner)

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        raise NotImplementedError


def bare() -> Typed:
    """A factory without parameters."""
    return Typed()


def anything(**parameters: object) -> Typed:
    """A factory that takes whatever it is given."""
    made = Typed()
    made.given = tuple(parameters.items())  # type: ignore[assignment]
    return made


class Scripted(Backend):
    """The draft errs in its second step, which the PRM and the router notice; the target is right."""

    name = "scripted"

    def language_model(self, source: str, device: str | None = None, **options: object) -> LanguageModel:
        steps = {"draft": ["1 + 1 is asked.", "\\boxed{3}"], "target": ["Add the ones.", "\\boxed{2}"]}
        return ScriptedModel(steps[source], name=f"scripted-{source}")

    def scorer(self, source: str, device: str | None = None, **options: object) -> StepScorer:
        return ScriptedScorer({"\\boxed{3}": 0.1 if source == "prm" else 0.9}, default=0.8 if source == "prm" else 0.2)

    def bundled(self, role: Role) -> str:
        return role.value


@pytest.fixture
def names() -> Registry:
    """The built-ins, the strategies above and the scripted backend."""

    @hookimpl
    def register_backends(register: Register) -> None:
        register("scripted", Scripted, "for a test")

    @hookimpl
    def register_strategies(register: Register) -> None:
        for name, target in (("typed", Typed), ("bare", bare), ("anything", anything)):
            register(name, target, "for a test")

    return Registry(
        [("test-plugin", SimpleNamespace(register_strategies=register_strategies, register_backends=register_backends))]
    )


@pytest.fixture
def shared(names: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry that commands see; wide output without colours; a machine that is never busy."""
    monkeypatch.setattr("arbitrage.registry._shared", names)
    monkeypatch.setattr("arbitrage.harness.environment.load_average", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return names


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ("typed", (0.5, None, "adaptive", False, "draft", None)),
        ("typed:threshold=0.25", (0.25, None, "adaptive", False, "draft", None)),
        ("typed:rate=0.3+gamma=4", (0.5, 0.3, 4, False, "draft", None)),
        ("typed:gamma=adaptive+greedy=true+mode=ngram", (0.5, None, "adaptive", True, "ngram", None)),
        ("typed:threshold=1e+3+rate=none", (1000.0, None, "adaptive", False, "draft", None)),
        (" typed : threshold = -1 ", (-1.0, None, "adaptive", False, "draft", None)),
        ("anything:a=1+b=0.5+c=true+d=none+e=text", (("a", 1), ("b", 0.5), ("c", True), ("d", None), ("e", "text"))),
    ],
)
def test_parameters_are_read_by_the_types_of_the_constructor(spec: str, given: object, names: Registry) -> None:
    """Numbers, alternatives, truth values and none become Python values; the plus sign of 1e+3 separates nothing."""
    strategy = parse_strategy(spec, names)
    assert isinstance(strategy, Typed)
    assert strategy.given == given


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("typed:treshold=0.5", r"no parameter 'treshold'. Did you mean 'threshold'\? It takes: threshold, rate,"),
        ("bare:rate=1", r"'bare' takes no parameters, but 'rate' was given"),
        ("typed:gamma=four", r"parameter 'gamma' of strategy 'typed' cannot be 'four'"),
        ("typed:threshold=none", r"parameter 'threshold' of strategy 'typed' cannot be 'none'"),
        ("typed:rate=1.5", r"strategy 'typed:rate=1.5' cannot be made: rate must be in \[0, 1\]"),
        ("typed:rate", r"cannot read 'rate' in 'typed:rate'; write name:parameter=value\+parameter=value"),
        ("typed:", r"cannot read '' in 'typed:'"),
        ("typed:=1", r"cannot read '=1'"),
        ("typed:rate=0+rate=1", r"parameter 'rate' is given twice"),
        ("typed:inner=rsd", r"parameter 'inner' of strategy 'typed' cannot be given on a command line"),
    ],
)
def test_unreadable_parameters_are_answered_with_what_to_write(spec: str, message: str, names: Registry) -> None:
    """Unknown, mistyped, doubled and impossible parameters each have their own answer."""
    with pytest.raises(SpecError, match=message):
        parse_strategy(spec, names)


def test_commas_separate_strategies(names: Registry) -> None:
    """One name may stand there twice with different parameters, and blanks do not matter."""
    strategies = parse_strategies("typed:rate=0.1, typed:rate=0.2,\nbare,", names)
    assert [strategy.given[1] for strategy in strategies if isinstance(strategy, Typed)] == [0.1, 0.2, None]


@pytest.mark.parametrize(
    ("text", "message"), [("", "no strategy named"), (" , ", "no strategy"), ("bare,bare", "twice")]
)
def test_lists_without_sense_are_refused(text: str, message: str, names: Registry) -> None:
    """An empty list and an exact repetition are errors."""
    with pytest.raises(SpecError, match=message):
        parse_strategies(text, names)


def test_an_unknown_strategy_in_a_list_brings_the_closest_name(names: Registry) -> None:
    """The registry's answer reaches the user."""
    with pytest.raises(UnknownNameError, match="Did you mean 'arbitrage-router'"):
        parse_strategies("rsd,arbitrage-ruoter:rate=0.3", names)


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ("target-only", "target-only"),
        ("random-route:rate=0.25", "random-route (rate=0.25)"),
        ("token-sd:gamma=4", "token-sd (gamma=4)"),
        ("rsd:threshold=0.5", "rsd (τ=0.5)"),
        ("arbitrage-oracle:samples=2", "arbitrage-oracle (m=2)"),
        ("arbitrage-router:rate=0.3", "arbitrage-router (rate=0.3)"),
    ],
)
def test_builtin_strategies_take_their_parameters_from_the_command_line(spec: str, label: str, names: Registry) -> None:
    """What is typed is what the table's label says."""
    assert parse_strategy(spec, names).label == label


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["bench", "--help"], ["solve", "-h"], ["ls", "-h"], ["doctor", "-h"]]
)
def test_every_command_explains_itself(
    arguments: list[str], shared: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Help is printed to standard output with exit code 0."""
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "Usage: arbitrage" in printed.out
    assert not printed.err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names program and version on one line."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"arbitrage {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], ["bench", "--no-such-option"], ["solve"], ["bench", "--limit", "x"]]
)
def test_a_wrong_command_line_has_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors go to standard error with the exit code that shells expect."""
    assert main(arguments) == 2
    assert capsys.readouterr().err


def test_ls_lists_every_name_with_its_plugin(shared: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of a list has summary and origin; all lists together are what `arbitrage ls` prints."""
    assert main(["ls"]) == 0
    everything = capsys.readouterr().out
    for title, kind in KINDS.items():
        assert main(["ls", title]) == 0
        printed = capsys.readouterr().out
        assert printed in everything
        for entry in shared.entries(kind):
            (line,) = [line for line in printed.splitlines() if line.split()[:1] == [entry.name]]
            assert entry.summary in line
            assert line.rstrip().endswith(entry.plugin)


def test_ls_of_one_kind_lists_only_that(shared: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    """`arbitrage ls backends` shows no strategies; an unknown kind is answered with the known ones."""
    assert main(["ls", "backends"]) == 0
    printed = capsys.readouterr().out
    assert "hf" in printed
    assert "rsd" not in printed
    assert main(["ls", "backend"]) == 2
    assert "Did you mean 'backends'?" in capsys.readouterr().err


def test_an_expected_error_is_one_red_line_and_exit_code_2(
    shared: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for what the user can mend; the line says what to do."""
    assert main(["solve", "1 + 1?", "--strategy", "arbitrage-ruoter"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: no strategy named 'arbitrage-ruoter'. Did you mean 'arbitrage-router'?")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_shows_the_traceback_wherever_it_stands(place: int, shared: Registry) -> None:
    """With `--debug` before or after the command the error is raised as it is."""
    words = ["solve", "1 + 1?", "--strategy", "nonsense"]
    words.insert(place, "--debug")
    with pytest.raises(UnknownNameError):
        main(words)


def test_solve_shows_every_step_its_author_and_what_was_discarded(
    shared: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps appear in order with scores; the draft's rejected step stands before the target's; the answer ends it."""
    assert main(["solve", "1 + 1?", "--strategy", "rsd:threshold=0.5", "--backend", "scripted"]) == 0
    printed = capsys.readouterr().out
    order = (
        "rsd (τ=0.5)",
        "1 + 1 is asked.",
        "draft, ",
        "\\boxed{3}",
        "\\boxed{2}",
        "target, ",
        "answer: 2",
        "2 steps",
    )
    assert [printed.index(part) for part in order] == sorted(printed.index(part) for part in order)
    assert "score 0.80, draft reward 0.80" in printed
    assert "1 by the draft, 1 by the target; ended with eos" in printed


def test_solve_colours_steps_by_author(
    shared: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a colour terminal the draft's text is cyan, the target's magenta and discarded text dim."""
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert main(["solve", "1 + 1?", "--backend", "scripted"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b[36m1 + 1 is asked." in printed
    assert "\x1b[35m\\boxed{2}" in printed
    assert "\x1b[2;9m\\boxed{3}" in printed


def test_solve_loads_only_the_roles_that_the_strategy_needs(
    shared: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Target-only asks the backend for the target and nothing else."""
    asked: list[str] = []
    monkeypatch.setattr(Scripted, "bundled", lambda self, role: asked.append(role.value) or role.value)
    assert main(["solve", "1 + 1?", "--strategy", "target-only", "--backend", "scripted"]) == 0
    assert asked == ["target"]


def test_model_text_cannot_steer_the_terminal(
    shared: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Escape sequences that a model writes are shown as replacement characters; line ends stay."""
    hostile = ScriptedModel(["\x1b]0;owned\x07\x1b[2J", "a\nb \\boxed{\x1b[31m2}"])
    monkeypatch.setattr(Scripted, "language_model", lambda self, source, device=None: hostile)
    assert main(["solve", "1 + 1?", "--strategy", "target-only", "--backend", "scripted"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "a\nb" in printed
    assert "\ufffd[2J" in printed


@pytest.mark.parametrize("words", ["--top-p 0", "--top-p 1.5", "--temperature -1", "--max-tokens 0", "--threads 0"])
def test_impossible_settings_are_usage_errors(words: str, shared: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers that make no sense are refused before a model is loaded."""
    assert main(["solve", "1 + 1?", "--backend", "scripted", *words.split()]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """A data set of three problems, all with the answer 2."""
    file = tmp_path / "ones.jsonl"
    file.write_text("".join(f'{{"problem": "1 + 1? ({number})", "answer": "2"}}\n' for number in range(3)))
    return file


def bench(problems: Path, *words: str) -> int:
    """Run a comparison of scripted models."""
    fixed = ["--backend", "scripted", "--dataset", str(problems), "--warmup", "1", "--threads", "1"]
    return main(["bench", *fixed, *words])


def test_bench_prints_the_table_and_writes_the_folder(
    problems: Path, tmp_path: Path, shared: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every strategy has a line, target-only is added, the folder holds manifest, rows, table, results, picture."""
    out = tmp_path / "run"
    assert bench(problems, "--strategy", "draft-only,rsd:threshold=0.5", "--limit", "2", "--out", str(out)) == 0
    printed = capsys.readouterr().out
    for label in ("target-only", "draft-only", "rsd (τ=0.5)", "limited to 2", str(out / "accuracy_latency.png")):
        assert label in printed
    assert {"manifest.json", "rows.jsonl", "table.md", "results.json", "accuracy_latency.png"} <= {
        file.name for file in out.iterdir()
    }
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    correct = {(row["strategy"], row["status"]) for row in rows}
    assert correct == {("target-only", "correct"), ("draft-only", "incorrect"), ("rsd (τ=0.5)", "correct")}
    assert len(rows) == 6


def test_bench_does_not_touch_a_folder_that_holds_a_run_unless_told_to_resume(
    problems: Path, tmp_path: Path, shared: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run into the same folder is refused; --resume makes no row twice and prints the same table."""
    words = ["--strategy", "target-only", "--out", str(tmp_path / "run")]
    assert bench(problems, *words) == 0
    first = capsys.readouterr().out
    rows = (tmp_path / "run" / "rows.jsonl").read_bytes()
    assert bench(problems, *words) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert bench(problems, *words, "--resume") == 0
    assert capsys.readouterr().out == first
    assert (tmp_path / "run" / "rows.jsonl").read_bytes() == rows


def test_resume_and_report_need_only_the_folder(
    problems: Path, tmp_path: Path, shared: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that are missing are made again, the others are kept; report shows the same table."""
    folder = tmp_path / "run"
    assert bench(problems, "--strategy", "target-only", "--out", str(folder)) == 0
    rows = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
    (folder / "rows.jsonl").write_text("".join(rows[:-1]))
    capsys.readouterr()
    assert main(["resume", str(folder)]) == 0
    assert (folder / "rows.jsonl").read_text().splitlines(keepends=True)[:-1] == rows[:-1]
    assert len((folder / "rows.jsonl").read_text().splitlines()) == len(rows)
    shown = capsys.readouterr().out
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == shown
    assert main(["report", str(tmp_path / "nothing")]) == 2


def test_bench_without_a_folder_makes_one_under_runs(
    problems: Path, tmp_path: Path, shared: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing measured is ever lost because nobody named a folder."""
    monkeypatch.chdir(tmp_path)
    assert bench(problems, "--strategy", "target-only", "--limit", "1") == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "rows.jsonl").read_text().count("\n") == 1


def test_an_interrupted_bench_keeps_its_rows_and_says_how_to_go_on(
    problems: Path,
    tmp_path: Path,
    shared: Registry,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C after the first row: exit code 130, one row stored, and --resume finishes the rest."""
    out = tmp_path / "run"
    words = ["--strategy", "target-only", "--out", str(out)]

    def interrupt(row: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shared.hook, "problem_finished", interrupt)
        assert bench(problems, *words) == 130
    assert f"--resume --out {out}" in capsys.readouterr().err
    assert (out / "rows.jsonl").read_text().count("\n") == 1
    assert bench(problems, *words, "--resume") == 0
    assert (out / "rows.jsonl").read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--strategy arbitrage-ruoter", "Did you mean 'arbitrage-router'?"),
        ("--strategy rsd:treshold=1", "Did you mean 'threshold'?"),
        ("--strategy target-only --backend scriptde", "Did you mean 'scripted'?"),
        ("--strategy target-only --dataset bundeld", "Did you mean 'bundled'?"),
        ("--strategy target-only --resume", "--out"),
    ],
)
def test_wrong_names_end_a_bench_before_it_starts(
    words: str,
    message: str,
    problems: Path,
    tmp_path: Path,
    shared: Registry,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A typo costs no run folder and is answered with the closest name."""
    monkeypatch.chdir(tmp_path)
    assert bench(problems, *words.split()) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_doctor_reports_without_failing(
    shared: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every section appears, whatever is missing, and the prompt of the chosen backend's target ends the report."""
    monkeypatch.delenv("ARBITRAGE_DATA", raising=False)
    assert main(["doctor", "--backend", "scripted"]) == 0
    printed = capsys.readouterr().out
    sections = ("Versions", "Extras", "Hardware", "Bundled models", "Data sets", "First prompt of 'bundled'")
    assert [printed.index(section) for section in sections] == sorted(printed.index(section) for section in sections)
    assert "ARBITRAGE_DATA" in printed
    assert "step by step" in printed.partition("First prompt")[2]
