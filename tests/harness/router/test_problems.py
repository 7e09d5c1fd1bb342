"""Problems to collect on: sampled fairly, each once, and none that is measured on."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.errors import DatasetError
from arbitrage.harness.datasets import ROUTER_PROBLEMS, load_dataset
from arbitrage.harness.router.decontamination import EvaluationTexts, decontaminate
from arbitrage.harness.router.problems import training_problems, training_row
from arbitrage.harness.router.sampling import quotas, stratified, unique
from arbitrage.harness.synthetic import Split, benchmark_split, generate
from arbitrage.types import Problem

LONG = "A train leaves the station at noon and travels west at sixty miles per hour until it stops for water"


def problem(identifier, text, subject=None):
    return Problem(identifier, text, ("1",), subject=subject)


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    """Only what a test names is there, and nobody asks the hub."""
    monkeypatch.delenv("ARBITRAGE_DATA", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(1, 10**6), min_size=1), st.integers(1, 10**6)
)
def test_quotas_are_largest_remainders(counts, size):
    """They sum to the sample, none exceeds its source, and each is its exact share rounded one way or the other."""
    found, total = quotas(counts, size), sum(counts.values())
    assert sum(found.values()) == min(size, total)
    for name, count in counts.items():
        assert found[name] <= count
        exact = count * min(size, total)
        assert exact // total <= found[name] <= -(-exact // total)
    rounded_up = [counts[n] * size % total for n in counts if found[n] > counts[n] * size // total]
    rounded_down = [counts[n] * size % total for n in counts if found[n] == counts[n] * size // total]
    if size < total and rounded_up and rounded_down:
        assert min(rounded_up) >= max(rounded_down)


def test_quotas_by_hand():
    """Shares 1.67, 1.67 and 1.67 of 5: the remainder goes by name where it is equal."""
    assert quotas({"c": 10, "a": 10, "b": 10}, 5) == {"a": 2, "b": 2, "c": 1}
    assert quotas({"big": 97, "small": 3}, 10) == {"big": 10, "small": 0}


def test_a_sample_is_the_same_whatever_the_order_of_rows():
    """Texts and their sequence; another seed takes others; every source has its quota."""
    rows = [(("olympiads", "amc", "gsm")[i % 7 % 3], f"problem number {i}") for i in range(500)]

    def sample(shuffled, **more):
        sources, texts = zip(*shuffled, strict=True)
        return [shuffled[i] for i in stratified(sources, texts, 50, **more)]

    found = sample(rows)
    mixed = rows.copy()
    random.Random(1).shuffle(mixed)
    assert sample(mixed) == found
    assert len(set(found)) == 50
    counts = {name: sum(source == name for source, _ in rows) for name in ("olympiads", "amc", "gsm")}
    assert {name: sum(source == name for source, _ in found) for name in counts} == quotas(counts, 50)
    assert set(sample(rows, seed=1)) != set(found)


def test_the_row_that_stays_of_equal_texts_does_not_depend_on_the_order():
    """Equal up to spaces and case; the smallest source stays."""
    rows = [("b", "What is  1?", "x"), ("a", "what is 1?\n", "y"), ("a", "What is 2?", ""), ("a", "what is 1?", "z")]
    kept = {rows[i] for i in unique(rows)}
    assert len(kept) == 2
    for seed in range(5):
        mixed = rows.copy()
        random.Random(seed).shuffle(mixed)
        assert {mixed[i] for i in unique(mixed)} == kept
    assert all(source == "a" for source, _, _ in kept)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LONG.upper().replace(" ", "  "), "same text"),
        (f"Suppose that {' '.join(LONG.split()[6:])}. When?", "13 words"),
        ("A, train: leaves the (station) at $noon$ and travels west at sixty miles -- when?", "13 words"),
        ("A train leaves the station at noon and travels west at sixty kilometres per hour", None),
        ("Where does the train stop?", None),
    ],
)
def test_what_is_contaminated(text, reason):
    """The same text but for spaces and case, or thirteen words in a row, whatever stands between them."""
    texts = EvaluationTexts({"held": [problem("e1", "Short one?"), problem("e2", LONG)]})
    found = texts.find(text)
    assert (found and found.reason) == reason
    if found:
        assert (found.evaluation_set, found.evaluation_id) == ("held", "e2")
        assert reason == "same text" or found.shared in " ".join(LONG.lower().split())


def test_the_length_of_runs_is_an_option():
    """Twelve shared words are too few for thirteen; 0 looks for whole texts only, short ones too."""
    text = " ".join(LONG.split()[:12])
    sets = {"held": [problem("e", LONG), problem("s", "short?")]}
    assert EvaluationTexts(sets).find(text) is None
    assert EvaluationTexts(sets, 12).find(text) is not None
    assert EvaluationTexts(sets, 0).find(f"{LONG} now") is None
    assert EvaluationTexts(sets, 0).find("SHORT?") is not None
    clean, removed = decontaminate([problem("a", text), problem("b", "Short?")], EvaluationTexts(sets))
    assert [p.id for p in clean] == ["a"]
    assert [(p.id, found.reason) for p, found in removed] == [("b", "same text")]


FORMULA = r"Find $\frac{1}{2} + \left( x-1 \right)$."


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (r"find \(\dfrac{1}{2}+( x - 1 )\)", True),
        (r"12. Find $\tfrac{1}{2} + (x-1)$", True),
        (r"Problem 3: Find $\frac{1}{2}+(x-1)$?", True),
        (r"Find $\frac{1}{3} + (x-1)$.", False),
        (r"Find $\frac{1}{2} - (x-1)$.", False),
        (r"Find $\frac{1}{2} + (x-1)$ now.", False),
    ],
)
def test_typesetting_does_not_hide_a_text(text, same):
    """The same formula in other TeX, numbered or not, is the same text, for evaluation sets and for repeats."""
    found = EvaluationTexts({"held": [problem("e", FORMULA)]}).find(text)
    assert (found is not None and found.reason == "same text") == same
    assert len(unique([("a", FORMULA, ""), ("a", text, "")])) == (1 if same else 2)


def test_what_looks_like_typesetting_and_is_not():
    """Arrows are no brackets, numbers that are added are no numbering, and bare punctuation stays."""
    distinct = [
        r"$a \leftarrow b$",
        r"$a arrow b$",
        "(1) + 2",
        "(2) + 2",
        "1. 5 + 1",
        "2. 5 + 1",
        "?",
        "!",
        "3.5 apples",
    ]
    assert len(unique([("", text, "") for text in distinct])) == len(distinct)


def test_a_short_problem_is_found_inside_a_longer_text():
    """All its words in a row; not with fewer than five of them, and not where whole texts only are looked for."""
    held = {"held": [problem("e", "How many primes divide $2310$?"), problem("s", "Compute $2 + 2$.")]}
    inside = "How many primes divide 2310? Give your answer as a number."
    found = EvaluationTexts(held).find(inside)
    assert (found.reason, found.evaluation_id, found.shared) == ("5 words", "e", "how many primes divide 2310")
    assert EvaluationTexts(held, 0).find(inside) is None
    assert EvaluationTexts(held).find("How many odd primes divide 2310?") is None
    assert EvaluationTexts(held).find("Now compute 2 + 2 and go on.") is None


def test_generated_training_problems_are_none_of_the_test_split():
    """As many as are asked for, the same ones first; never a statement that is measured on."""
    few, many = load_dataset("bundled-train", limit=30), load_dataset("bundled-train", limit=60)
    assert few.problems == many.problems[:30]
    assert not {p.problem for p in many} & {p.problem for p in benchmark_split()}
    stream = list(itertools.islice(generate(Split.ROUTER), ROUTER_PROBLEMS + 60))
    assert many.problems == tuple(stream[ROUTER_PROBLEMS:]), "ids are those of the stream"
    assert not {p.problem for p in many} & {p.problem for p in stream[:ROUTER_PROBLEMS]}, "the bundled router saw these"
    found = training_problems("bundled-train", limit=60)
    assert (found.dataset.problems, found.removed, found.notes) == (many.problems, (), ())
    sampled = [training_problems("bundled-train", sample=40, limit=limit) for limit in (10, 60)]
    assert sampled[0].dataset.problems == sampled[1].dataset.problems[:10]
    assert {p.problem for p in sampled[1].dataset} == {p.problem for p in many[:40]}
    with pytest.raises(DatasetError, match="at least 1"):
        load_dataset("bundled-train", limit=0)


def test_everything_is_said_about_what_is_left_out(tmp_path):
    """Repeats, contaminated problems with their match, and evaluation sets that are not there."""
    test = benchmark_split()[3]
    problems = [problem("a", "one?"), problem("b", " ONE? "), problem("c", test.problem), problem("d", "two?")]
    found = training_problems(problems)
    assert [p.id for p in found.dataset] in (["a", "d"], ["b", "d"])
    (line,) = found.removed_lines()
    assert (line["id"], line["reason"], line["evaluation_set"], line["evaluation_id"]) == (
        *("c", "same text", "bundled", test.id),
    )
    notes = " / ".join(found.notes)
    assert "1 problems repeat" in notes
    assert "not checked against math500" in notes
    assert "1 of 3 problems are left out" in notes
    assert list(found.facts["decontaminated"]) == ["bundled"]
    assert len(training_problems(problems, against=()).dataset) == 3
    with pytest.raises(DatasetError, match="nothing is left"):
        training_problems(problems[2:3], against=["bundled"])
    with pytest.raises(DatasetError, match="math500"):
        training_problems(problems, against=["math500"])


def test_a_damaged_evaluation_set_is_not_taken_for_an_absent_one(tmp_path, monkeypatch):
    """Its problems would be trained on, and the note would say that it is not on this machine."""
    monkeypatch.setenv("ARBITRAGE_DATA", str(tmp_path))
    (tmp_path / "math500.jsonl").write_text('{"problem": "1?"')
    with pytest.raises(DatasetError, match=r"math500\.jsonl:1"):
        training_problems([problem("a", "one?")])


def test_evaluation_sets_may_be_files_and_the_limit_counts_what_is_left(tmp_path):
    """One that is somebody's own; five of ten problems stand in it."""
    rows = [{"problem": f"question {i}?", "answer": i} for i in range(10)]
    train, held = tmp_path / "train.jsonl", tmp_path / "held.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    held.write_text("".join(json.dumps(row) + "\n" for row in rows[::2]))
    found = training_problems(train, against=[str(held)], limit=4)
    assert [p.problem for p in found.dataset] == [f"question {i}?" for i in (1, 3, 5, 7)]
    assert len(found.removed) == 5
    sampled = training_problems(train, against=[], sample=3)
    assert len(sampled.dataset) == 3
    with pytest.raises(DatasetError, match="at least 1"):
        training_problems(train, sample=0)


def test_a_row_needs_a_problem_and_nothing_else():
    """The answer is looked for in the solution; source and subject name the same."""
    assert training_row({"problem": "1?"}, "f/1") == Problem("f/1", "1?", ("",))
    row = {"problem": "1?", "solution": "So $\\boxed{\\frac{1}{2}}$, no: \\boxed{3}.", "source": "amc"}
    found = training_row(row, "f/1")
    assert (found.answers, found.subject) == (("3",), "amc")
    assert training_row({"problem": "1?", "answer": 5, "solution": "\\boxed{4}"}, "f/1").answers == ("5",)


NUMINA = [
    {
        "source": ("amc", "olympiads", "gsm")[i % 3],
        "problem": f"Numina problem {i // 2 if i < 20 else i}",
        "solution": f"Then $\\boxed{{{i}}}$." if i % 4 else "It is shown.",
        "messages": [{"role": "user", "content": "as above"}],
    }
    for i in range(60)
]


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "folder"])
def test_numina_is_read_from_a_copy(tmp_path, kind, monkeypatch):
    """Unique by text, a quota of each source, answers from the last box, ids from the statements; any file order."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def copy(rows, place):
        place.mkdir()
        if kind == "jsonl":
            file = place / "numina.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
            return file
        import pyarrow as pa
        import pyarrow.parquet as parquet

        halves = {"train-00000": rows[:25], "train-00001": rows[25:]} if kind == "folder" else {"all": rows}
        for name, part in halves.items():
            parquet.write_table(pa.Table.from_pylist(part), place / f"{name}.parquet")
        if kind == "folder":
            parquet.write_table(pa.Table.from_pylist([{**rows[0], "problem": "of a test"}]), place / "test-0.parquet")
        return place if kind == "folder" else place / "all.parquet"

    found = load_dataset("numina", path=copy(NUMINA, tmp_path / "a"))
    assert len(found) == 50
    sample = training_problems("numina", copy(NUMINA[::-1], tmp_path / "b"), sample=12, against=[]).dataset
    again = training_problems(
        "numina",
        tmp_path / ("a" if kind == "folder" else f"a/{next((tmp_path / 'a').iterdir()).name}"),
        sample=12,
        against=[],
    )
    assert again.dataset.problems == sample.problems
    other = [{**row, "problem": f"{row['problem']}!"} for row in NUMINA]
    another = training_problems("numina", copy(other, tmp_path / "c"), sample=12, against=[])
    assert (another.facts["name"], another.facts["sample"]) == (again.facts["name"], again.facts["sample"])
    assert another.facts != again.facts, "the folder of pairs refuses another copy"
    counts = {name: sum(p.subject == name for p in found) for name in ("amc", "olympiads", "gsm")}
    assert {name: sum(p.subject == name for p in sample) for name in counts} == quotas(counts, 12)
    answers = {p.problem: p.answer for p in found}
    assert answers["Numina problem 41"] == "41"
    assert answers["Numina problem 40"] == ""
    assert len({p.id for p in found}) == 50


def test_numina_says_what_to_do_where_it_cannot_be_had(tmp_path):
    """No network, an empty folder, other columns."""
    pytest.importorskip("datasets")
    with pytest.raises(DatasetError, match="--data"):
        load_dataset("numina")
    with pytest.raises(DatasetError, match="no Parquet or JSONL"):
        load_dataset("numina", path=tmp_path)
    (tmp_path / "x.jsonl").write_text('{"problem": "1?", "answer": "1"}\n')
    with pytest.raises(DatasetError, match="lacks the column 'source'"):
        load_dataset("numina", path=tmp_path)
