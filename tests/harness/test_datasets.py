"""Data sets: files in, problems out, and errors that name the place."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from arbitrage.errors import DatasetError, UnknownNameError
from arbitrage.harness import synthetic
from arbitrage.harness.dataset_rows import split_top_level
from arbitrage.harness.datasets import DATA_FOLDER, Dataset, is_name, load_dataset
from arbitrage.types import AnswerRules, Problem


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_FOLDER, raising=False)
    monkeypatch.setitem(sys.modules, "datasets", None)


def write(file: Path, *rows: object) -> Path:
    file.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


def test_bundled_is_the_fixed_test_split_and_warms_up_on_other_problems() -> None:
    """The bundled data set is the generators' test split, and none of its spare problems is in it."""
    data = load_dataset("bundled")
    assert data.problems == synthetic.benchmark_split()
    assert data.name == "bundled"
    assert data.limited_to is None
    assert data.spare
    assert not {one.problem for one in data.spare} & {one.problem for one in data}
    assert data.spare[0] == next(synthetic.generate(synthetic.Split.HELD_OUT))


def test_a_limit_takes_the_first_problems_and_says_so() -> None:
    """A limited data set is a prefix, knows what it was cut from, and keeps spare problems outside."""
    problems = tuple(Problem(str(index), f"p{index}", ("1",)) for index in range(30))
    whole = Dataset("d", problems)
    cut = whole.limited(5)
    assert tuple(cut) == problems[:5]
    assert (cut.limited_to, cut.available) == (5, 30)
    assert not set(cut.spare) & set(cut)
    assert cut.sha256 != whole.sha256
    assert whole.limited(30) is whole
    assert whole.limited(None) is whole
    with pytest.raises(DatasetError, match="at least 1"):
        whole.limited(0)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "other"},
        {"problem": "other"},
        {"answers": ("2",)},
        {"rules": AnswerRules(tolerance=0.1)},
        {"rules": AnswerRules(unit="cm")},
        {"rules": AnswerRules(multiple=True)},
    ],
)
def test_the_hash_notices_everything_that_changes_a_verdict(change: dict[str, object]) -> None:
    """Changing id, statement, answer or a grading rule changes the hash; the source of the data does not."""
    fields: dict[str, object] = {"id": "a", "problem": "p", "answers": ("1",)}
    before = Dataset("d", (Problem(**fields),))  # type: ignore[arg-type]
    after = Dataset("d", (Problem(**(fields | change)),))  # type: ignore[arg-type]
    assert before.sha256 != after.sha256
    assert before.sha256 == Dataset("d", before.problems, "elsewhere").sha256


def test_any_jsonl_file_is_a_data_set(tmp_path: Path) -> None:
    """All optional fields are read, ids default to the line, a list of answers requires them all."""
    file = write(
        tmp_path / "mine.jsonl",
        {"problem": "a", "answer": "1"},
        "",
        {"problem": "b", "answer": ["1", 2], "id": 7, "level": "Level 3", "subject": "S", "solution": "so"},
        {"problem": "c", "answer": 4.5, "unit": "$cm^2$", "error": "1e-1", "level": 2},
    )
    first, second, third = load_dataset(str(file))
    assert first == Problem("mine/1", "a", ("1",))
    assert second == Problem("7", "b", ("1", "2"), 3, "S", "so", AnswerRules(multiple=True))
    assert third == Problem("mine/4", "c", ("4.5",), 2, rules=AnswerRules(tolerance=0.1, unit="cm^2"))
    assert load_dataset(file).source == str(file)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not a line of JSON"),
        ("[1]", "must be an object"),
        ("[" * 100_000, "not a line of JSON|nested too deeply"),
        ({"answer": "1"}, "'problem' is missing"),
        ({"problem": "p"}, "'answer' is missing"),
        ({"problem": " ", "answer": "1"}, "'problem' must be a non-empty string"),
        ({"problem": "p", "answer": ["1", ""]}, "'answer' must be a non-empty string"),
        ({"problem": "p", "answer": []}, "empty list"),
        ({"problem": "p", "answer": True}, "'answer' must be"),
        ({"problem": "p", "answer": "1", "level": "hard"}, "'level' must be an integer"),
        ({"problem": "p", "answer": "1", "tolerance": "wide"}, "tolerance must be a non-negative number"),
        ({"problem": "p", "answer": "1", "tolerance": -1}, "tolerance must be a non-negative number"),
        ({"problem": "p", "answer": "1", "tolerance": float("nan")}, "tolerance must be a non-negative number"),
        ({"problem": "p", "answer": "1", "id": ["x"]}, "'id' must be"),
        ({"problem": "p\ud800", "answer": "1"}, "half a surrogate pair"),
        ({"problem": "p", "answer": "1", "id": "good"}, "id 'good' was already used at .*:1"),
    ],
)
def test_a_malformed_row_names_file_and_line(tmp_path: Path, row: object, message: str) -> None:
    """Whatever is wrong with a row, the error says in which file, in which line, and what."""
    file = write(tmp_path / "bad.jsonl", {"problem": "p", "answer": "1", "id": "good"}, row)
    with pytest.raises(DatasetError, match=f"bad.jsonl:2: .*({message})"):
        load_dataset(file)


def test_a_problem_without_a_reference_is_kept(tmp_path: Path) -> None:
    """MATH has two problems with an empty answer; they do not make the file unreadable, grading calls them unscored."""
    data = load_dataset(write(tmp_path / "math.jsonl", {"problem": "p", "answer": ""}))
    assert data[0].answers == ("",)


def test_empty_files_and_absent_files_are_errors(tmp_path: Path) -> None:
    """No problems is an error, and so is a path that leads nowhere."""
    with pytest.raises(DatasetError, match="has no problems"):
        load_dataset(write(tmp_path / "empty.jsonl"))
    with pytest.raises(DatasetError, match=r"nowhere\.jsonl: cannot be read"):
        load_dataset(tmp_path / "nowhere.jsonl")


MATH = {
    "problem": "p",
    "solution": "s",
    "answer": "1",
    "subject": "Algebra",
    "level": 4,
    "unique_id": "test/algebra/1.json",
}
GSM = {"question": "q", "answer": "2 + 2 = <<2+2=4>>4\n#### 1,004"}
OLYMPIAD = {
    "id": 7,
    "problem": "T unknown",
    "problem_674": "T is 3",
    "answer": "$1$,$2$",
    "answers": ["1", "2"],
    "is_multiple_answer": True,
    "unit": "$cm^2$",
    "error": "1e-1",
    "subfield": "Geometry",
    "solution": ["a", "b"],
    "in_674": True,
}


def test_published_files_are_read_from_a_path_and_from_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`path` may be a file or a folder; without it the environment variable's folder is used."""
    file = write(tmp_path / "math500.jsonl", MATH)
    monkeypatch.setenv(DATA_FOLDER, str(tmp_path))
    expected = Problem("test/algebra/1.json", "p", ("1",), 4, "Algebra", "s")
    for path in (file, tmp_path, None):
        data = load_dataset("math500", path=path)
        assert tuple(data) == (expected,)
        assert data.source == str(file)
        assert data.file_sha256


def test_gsm8k_splits_the_answer_from_its_solution(tmp_path: Path) -> None:
    """The original form (question, `####`) and the split form give the same problem."""
    original = write(tmp_path / "gsm8k_test.jsonl", GSM)
    split = write(
        tmp_path / "other.jsonl", {"problem": "q", "answer": "1,004", "solution": "2 + 2 = <<2+2=4>>4", "id": "gsm8k/1"}
    )
    assert tuple(load_dataset("gsm8k", path=original)) == tuple(load_dataset("gsm8k", path=split))
    assert load_dataset("gsm8k", path=tmp_path)[0].answers == ("1,004",)


def test_olympiadbench_rules_come_from_the_row(tmp_path: Path) -> None:
    """Several answers, tolerance and unit become rules; both revisions are read from one file."""
    dropped = OLYMPIAD | {"id": 1965, "in_674": False, "problem_674": None}
    degrees = OLYMPIAD | {"id": 2817, "answers": ["44^\\circ"], "problem_674": None, "unit": None, "error": None}
    tuple_row = OLYMPIAD | {"id": 8, "answers": ["(1, 2)"], "problem_674": None, "unit": None, "error": None}
    file = write(tmp_path / "olympiadbench.jsonl", OLYMPIAD, dropped, degrees, tuple_row)
    older = load_dataset("olympiadbench", path=file)
    assert older[0].rules == AnswerRules(multiple=True, tolerance=0.1, unit="cm^2")
    assert (older[0].id, older[0].problem, older[0].subject, older[0].solution) == (
        "7",
        "T unknown",
        "Geometry",
        "a\n\nb",
    )
    assert older[3].rules == AnswerRules()
    assert len(older) == 4
    later = load_dataset("olympiadbench-674", path=tmp_path)
    assert [one.id for one in later] == ["7", "2817", "8"]
    assert later[0].problem == "T is 3"
    assert (older[2].answers, later[1].answers) == (("44^\\circ",), ("44",))
    assert (older.name, later.name) == ("olympiadbench", "olympiadbench-674")


def test_the_hub_is_asked_last_and_says_which_revision_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the `datasets` package, rows of the hub's own form are read; OlympiadBench there is the set of 674."""
    asked = []
    rows = {
        "HuggingFaceH4/MATH-500": MATH,
        "openai/gsm8k": GSM,
        "Hothan/OlympiadBench": {
            "id": 7,
            "question": "q",
            "final_answer": ["$(1,2)$, $3$"],
            "is_multiple_answer": True,
            "unit": None,
            "error": None,
            "subfield": "Algebra",
            "solution": ["s"],
        },
    }

    def fake_load(repository: str, config: str | None, split: str) -> list[dict[str, object]]:
        asked.append((repository, config, split))
        return [rows[repository]]

    package = types.ModuleType("datasets")
    package.load_dataset = fake_load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", package)
    assert load_dataset("math500")[0].level == 4
    assert load_dataset("gsm8k")[0].answers == ("1,004",)
    olympiad = load_dataset("olympiadbench")
    assert olympiad.name == "olympiadbench-674"
    assert olympiad[0].answers == ("(1,2)", "3")
    assert asked == [
        ("HuggingFaceH4/MATH-500", None, "test"),
        ("openai/gsm8k", "main", "test"),
        ("Hothan/OlympiadBench", "OE_TO_maths_en_COMP", "train"),
    ]


def test_an_absent_data_set_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the argument, the variable, the file name and the package; a failing hub is explained."""
    with pytest.raises(DatasetError) as absent:
        load_dataset("math500")
    for word in ("path=FILE", DATA_FOLDER, "math500.jsonl", "pip install datasets", "HuggingFaceH4/MATH-500"):
        assert word in str(absent.value)
    monkeypatch.setenv(DATA_FOLDER, str(tmp_path))
    with pytest.raises(DatasetError, match=f"{DATA_FOLDER}={tmp_path} has no gsm8k.jsonl or gsm8k_test.jsonl"):
        load_dataset("gsm8k")
    with pytest.raises(DatasetError, match=r"no math500\.jsonl in this folder"):
        load_dataset("math500", path=tmp_path)

    def no_network(*_: object, **__: object) -> None:
        raise ConnectionError("offline")

    package = types.ModuleType("datasets")
    package.load_dataset = no_network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", package)
    with pytest.raises(DatasetError, match=r"ConnectionError: offline.*path=FILE"):
        load_dataset("gsm8k")


def test_names_and_paths_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything with a separator or a JSON ending is a file; an unknown bare word is an unknown name."""
    assert is_name("math500")
    assert is_name("something-else")
    assert not is_name("x.jsonl")
    assert not is_name("folder/x")
    with pytest.raises(UnknownNameError, match="math500"):
        load_dataset("math50")
    with pytest.raises(DatasetError, match="no file"):
        load_dataset("bundled", path=tmp_path)


def test_commas_inside_brackets_do_not_split_answers() -> None:
    """Only commas outside every bracket separate answers; the thousands separator in braces does not."""
    assert split_top_level("(1,2),[3,4),\\{5,6\\},1{,}000") == ["(1,2)", "[3,4)", "\\{5,6\\}", "1{,}000"]


def test_two_problems_cannot_share_an_id() -> None:
    """Ids are keys of rows, so a repeated one is refused for problems at hand too."""
    with pytest.raises(DatasetError, match="two problems with id 'a'"):
        Dataset("d", (Problem("a", "p", ("1",)), Problem("a", "q", ("1",))))
