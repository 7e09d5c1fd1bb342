"""The page as a file: what is in it, what can never be in it, and the numbers behind its charts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from arbitrage.errors import MissingExtraError, RunError
from arbitrage.harness import report, series
from arbitrage.harness.html import data, write_html
from arbitrage.harness.rows import Row, RowStatus
from arbitrage.types import EndReason, StepRecord
from tests.harness import report_runs as runs

PAYLOAD = "</script><script>window.__pwned=1</script><!--"


class Blocks(HTMLParser):
    """The page as a parser sees it: scripts by type and id, and every other tag."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[tuple[str | None, str | None, str]] = []
        self.tags: set[str] = set()
        self.policy = ""
        self._open: tuple[str | None, str | None] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.add(tag)
        assert not {"src", "srcset", "onerror", "onload"} & told.keys()
        if tag == "script":
            self._open = (told.get("type"), told.get("id"))
        if told.get("http-equiv") == "Content-Security-Policy":
            self.policy = told["content"] or ""

    def handle_data(self, text: str) -> None:
        if self._open is not None:
            self.scripts.append((*self._open, text))
            self._open = None


def parsed(file: Path) -> Blocks:
    blocks = Blocks()
    blocks.feed(file.read_text(encoding="utf-8"))
    return blocks


def unpacked(blocks: Blocks) -> dict[str, bytes]:
    return {
        str(name): gzip.decompress(base64.b64decode(text))
        for kind, name, text in blocks.scripts
        if kind == "application/gzip"
    }


def written(tmp_path: Path, **comparisons: Any) -> Blocks:
    file = tmp_path / "page.html"
    write_html(comparisons, file)
    return parsed(file)


def overview(name: str, comparison: Any) -> dict[str, Any]:
    return data.RunData.of(name, comparison).overview


@pytest.mark.parametrize("payload", [PAYLOAD, "\ud800 half a pair \x00\x1b", "-->]]>&lt;\u2028"])
def test_nothing_of_a_run_stands_in_the_page_as_markup(tmp_path: Path, payload: str) -> None:
    """The page of a hostile run has the tags and scripts of the page of a harmless one, and other data."""
    hostile = written(tmp_path, **{payload: runs.hostile(payload)})
    harmless = written(tmp_path, **{"x": runs.hostile("harmless")})
    assert hostile.tags == harmless.tags
    assert [one[:2] for one in hostile.scripts] == [one[:2] for one in harmless.scripts]
    assert hostile.policy == harmless.policy
    assert "__pwned" not in (tmp_path / "page.html").read_text()


def test_data_come_out_as_they_went_in(tmp_path: Path) -> None:
    """The blocks hold the texts letter for letter, half surrogate pairs included."""
    payload = f"{PAYLOAD}\ud800\x00"
    blocks = unpacked(written(tmp_path, x=runs.hostile(payload)))
    chunk = json.loads(blocks["data-chunk-0-0"])
    assert chunk["problem"] == chunk["rows"][0]["steps"][0]["text"] == payload
    assert json.loads(blocks["data-overview"])[0]["problems"][0]["id"] == f"0 {payload}"


def test_the_policy_allows_no_network_and_only_the_scripts_of_the_page(tmp_path: Path) -> None:
    """default-src is 'none', scripts are listed by hash, and each hash is that of a script of this page."""
    blocks = written(tmp_path, x=runs.run(2))
    found = dict(part.strip().split(" ", 1) for part in blocks.policy.split(";"))
    assert found["default-src"] == found["base-uri"] == found["form-action"] == "'none'"
    assert "connect-src" not in found
    own = next(text for kind, _, text in blocks.scripts if kind is None)
    libraries = (unpacked(blocks)[f"data-{name}"].decode() for name in ("plotly", "katex"))
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in (own, *libraries)]
    assert found["script-src"].split() == [f"'sha256-{one}'" for one in hashes]
    assert own.startswith("'use strict';")


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    """No clock and no chance: pages can be compared byte for byte."""
    pages = []
    for name in ("a.html", "b.html"):
        write_html({"x": runs.run(3)}, tmp_path / name)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_the_fonts_are_inside() -> None:
    """KaTeX's style sheet refers to data only, and its licence travels with it."""
    from arbitrage.harness.html import page

    style = page._katex_style()
    assert not re.search(r"url\((?!data:font/woff2;base64,)", style)
    assert style.count("url(") == 20
    assert "MIT" in page._asset("katex/LICENSE")


def test_the_headline_is_the_table_of_the_terminal() -> None:
    """Cells, notes, warnings and definitions are the report's, none is computed again."""
    found = runs.run(5)
    told = overview("x", found)
    assert [(table["caption"], table["titles"], table["rows"]) for table in told["tables"]] == report.tables(found)
    assert told["definitions"] == list(report.DEFINITIONS)
    assert {*told["notes"], *told["warnings"], *told["definitions"]} == set(report.footer(found))


def test_the_facts_say_what_has_to_be_quoted() -> None:
    """Date, commit, machine, models and settings of the manifest are shown; what is absent is left out."""
    manifest = {
        "created": "2026-11-22T05:19:29.5+00:00",
        "identity": {
            "strategies": runs.STRATEGIES,
            "models": {"draft": {"backend": "hf", "source": "draft", "parameters": 1312000, "dtype": "float32"}},
            "settings": {"max_tokens": 4096, "sampling": {"temperature": 0.0}},
            "seed": 3,
        },
        "sessions": [{"commit": {"commit": "90af4496a596", "changed_files": True}, "machine": {"cpu": "EPYC"}}],
    }
    facts = dict(overview("x", runs.comparison([], [], **manifest))["facts"])
    assert facts == {
        "date": "2026-11-22 05:19 UTC",
        "commit": "90af4496a596, with changed files",
        "machine": "? × EPYC",
        "draft": "hf:draft, 1.3 M parameters, float32",
        "settings": "4096 tokens at most, greedy, seed 3",
    }


def test_filters_find_what_they_name() -> None:
    """Flags by strategy: gained and lost against the baseline's same repeat, wrong, wasted, cut, failed."""
    asked = [runs.problem(index) for index in range(4)]
    waste = StepRecord(0, "b", "target", 9, rejected_text="a", draft_reward=0.5, target_reward=0.5)
    wrong = {"status": RowStatus.INCORRECT}
    label = "rsd (τ=0.7)"
    rows = [
        runs.row("target-only", asked[0], [], **wrong),
        runs.row("target-only", asked[1], []),
        runs.row("target-only", asked[2], []),
        runs.row(label, asked[0], [waste]),
        runs.row(label, asked[1], [], **wrong, end_reason=EndReason.MAX_TOKENS),
        runs.row(label, asked[2], []),
        runs.row(label, asked[3], [], status=RowStatus.ERROR, end_reason=None),
    ]
    listed = overview("x", runs.comparison(rows, asked))["problems"]
    place = list(runs.STRATEGIES).index(label)
    flags = [one["flags"][place] for one in listed]
    assert flags == [data.GAINED | data.WASTED, data.LOST | data.WRONG | data.CUT, 0, data.WRONG | data.FAILED]
    assert listed[0]["flags"][0] == data.WRONG
    assert (listed[0]["solved"][place], listed[0]["repeats"][place]) == (1, 1)


def test_an_equal_reward_is_waste_and_an_unknown_one_is_not() -> None:
    """The same rule as the table's: escalated, both rewards known, the target's no better."""

    def of(**fields: Any) -> Row:
        step = StepRecord(0, "b", **({"author": "target", "tokens": 1, "rejected_text": "a"} | fields))
        return runs.row("rsd (τ=0.7)", runs.problem(0), [step])

    assert data.wasted(of(draft_reward=0.5, target_reward=0.5))
    assert not data.wasted(of(draft_reward=0.5, target_reward=0.6))
    assert not data.wasted(of(draft_reward=0.5))
    assert not data.wasted(of(draft_reward=0.5, target_reward=0.1, rejected_text=None))


def test_seconds_saved_are_the_targets_less_what_was_spent() -> None:
    """20 tokens at 0.1 s, less 0.5 s of draft and judge: 1.5 s; nothing for a target's step, an old row, or a bound."""
    kept = StepRecord(0, "a", "draft", 20, time_s={"draft": 0.4, "prm": 0.1})
    assert data.saved_s(kept, 0.1) == pytest.approx(1.5)
    assert data.saved_s(kept, None) is None
    assert data.saved_s(StepRecord(0, "a", "draft", 20), 0.1) is None
    assert data.saved_s(StepRecord(0, "a", "target", 20, time_s={"target": 2.0}), 0.1) is None
    alone = StepRecord(0, "a", "target", 10, time_s={"target": 1.0})
    asked = runs.problem(0)
    found = runs.comparison(
        [runs.row("target-only", asked, [alone]), runs.row("rsd (τ=0.7)", asked, [kept]),
         runs.row("arbitrage-oracle", asked, [kept])],
        [asked],
    )  # fmt: skip
    assert data.target_s_per_token(found) == pytest.approx(0.1)
    (chunk,) = data.RunData.of("x", found).chunks()
    assert [[step.get("saved_s") for step in told["steps"]] for told in chunk["rows"]] == [[None], [1.5], [None]]


def test_zero_rewards_and_empty_versions_are_told() -> None:
    """A reward of 0 and an empty discarded text are facts; only what is unknown is left out."""
    step = StepRecord(0, "", "target", 1, draft_reward=0.0, target_reward=0.0, rejected_text="")
    asked = runs.problem(0)
    (chunk,) = data.RunData.of("x", runs.comparison([runs.row("rsd (τ=0.7)", asked, [step])], [asked])).chunks()
    (told,) = chunk["rows"][0]["steps"]
    assert (told["draft_reward"], told["target_reward"], told["rejected_text"], told["text"]) == (0.0, 0.0, "", "")
    assert "router_score" not in told
    assert "unused_target_text" not in told


def test_the_frontier_holds_what_nothing_dominates() -> None:
    """Of fast and poor, slow and good, and slow and poor only the last is off the frontier; bounds are not on it."""
    asked = [runs.problem(index) for index in range(4)]

    def rows(label: str, seconds: float, right: int) -> list[Row]:
        return [
            runs.row(label, one, [], latency_s=seconds, status=RowStatus.CORRECT if k < right else RowStatus.INCORRECT)
            for k, one in enumerate(asked)
        ]

    found = runs.comparison(
        [*rows("target-only", 2.0, 4), *rows("draft-only", 1.0, 2), *rows("rsd (τ=0.7)", 3.0, 3),
         *rows("arbitrage-oracle", 0.1, 4)],
        asked,
    )  # fmt: skip
    points = {point.label: point.on_frontier for point in series.latency_points(found)}
    assert points == {"target-only": True, "draft-only": True, "rsd (τ=0.7)": False}
    assert series.bounds(found) == {"arbitrage-oracle": 1.0}


def test_calibration_counts_steps_that_have_all_three_numbers() -> None:
    """Scores 0.1 (1 of 4 better) and 0.9 (4 of 4): bins, intervals around the shares, ECE 0.5·0.15 + 0.5·0.1."""

    def step(score: float | None, better: bool | None) -> StepRecord:
        target = None if better is None else (0.9 if better else 0.5)
        return StepRecord(0, "a", "draft", 1, draft_reward=0.5, target_reward=target, router_score=score)

    steps = [step(0.1, k == 0) for k in range(4)] + [step(0.9, True)] * 4 + [step(0.5, None), step(None, True)]
    asked = runs.problem(0)
    label = "arbitrage-router (τ=0.5)"
    (found,) = series.calibrations(runs.comparison([runs.row(label, asked, steps)], [asked]))
    assert (found.label, found.steps) == (label, 8)
    assert [(one.score, one.better.value, one.steps) for one in found.bins] == [(0.1, 0.25, 4), (0.9, 1.0, 4)]
    assert found.ece == pytest.approx(0.5 * 0.15 + 0.5 * 0.1)
    assert all(one.better.covers(one.better.value) for one in found.bins)


def test_time_adds_up_to_the_latency() -> None:
    """The bars of a method end at its mean latency; bounds have no bar."""
    found = runs.run(4)
    split = series.time_split(found)
    assert "arbitrage-oracle" not in split
    for label, seconds in split.items():
        assert sum(seconds.values()) == pytest.approx(found[label].latency.mean_s)
    assert series.components(split) == ["draft", "target", "prm", "overhead"]


def test_a_single_author_has_no_acceptance() -> None:
    """Curves, positions and levels show acceptance of strategies that choose; draft-only accepts nothing."""
    found = runs.run(10)
    assert set(series.acceptance_curves(found)) == {"random-route", "rsd", "arbitrage-oracle", "arbitrage-router"}
    assert "draft-only" not in series.acceptance_by_position(found)
    told = {point.acceptance for point in series.by_group(found, "level")["draft-only"]}
    assert told == {None}


def test_styles_tell_strategies_of_one_name_apart() -> None:
    """No two strategies of a run share colour and variant, and those of one name share the colour."""
    described = {f"s{name}{rate}": {"name": f"s{name}"} for name in range(6) for rate in range(3)}
    looks = series.styles(runs.comparison([], [], described))
    assert len(set(looks.values())) == len(looks)
    assert {looks[f"s0{rate}"].colour for rate in range(3)} == {looks["s00"].colour}


@pytest.mark.parametrize("problems", [(), (runs.problem(0),)])
def test_runs_without_rows_or_problems_have_a_page(tmp_path: Path, problems: tuple[Any, ...]) -> None:
    """A run that was stopped before its first row, and one of an early version that tells no problems."""
    step = StepRecord(0, "a", "draft", 1)
    rows = [] if not problems else [runs.row("draft-only", problems[0], [step])]
    blocks = unpacked(written(tmp_path, x=runs.comparison(rows, [])))
    assert len(json.loads(blocks["data-overview"])[0]["problems"]) == len(rows)
    assert ("data-chunk-0-0" in blocks) is bool(rows)


def test_a_page_of_nothing_is_refused(tmp_path: Path) -> None:
    """Without a run there is nothing to show, and no file is left."""
    with pytest.raises(RunError, match="at least one run"):
        write_html({}, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_without_plotly_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plotly is an extra: asking for the page names it and leaves no file."""
    for name in [name for name in sys.modules if name.split(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(MissingExtraError, match=r"\[report\]"):
        write_html({"x": runs.run(1)}, tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_text_can_be_read_on_every_ground() -> None:
    """Contrast of text at least 4.5 : 1 in light, dark and print (WCAG 2.1, 1.4.3)."""
    from arbitrage.harness.html import page

    blocks = re.findall(r":root \{([^}]*)\}", page._asset("report.css"))
    assert len(blocks) == 3
    for block in blocks:
        colours = dict(re.findall(r"--([\w-]+): (#\w+);", block))
        for ink in ("ink", "quiet", "good", "bad"):
            for ground in ("paper", "sheet", "draft-wash", "target-wash", "warn-wash"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for badge in ("#0072b2", "#b34f00"):
        assert contrast(badge, "#fff") >= 4.5


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
