"""The page in a browser: what can be seen and done, that nothing of a run is ever executed, and how long it takes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from arbitrage.harness.comparison import Comparison
from arbitrage.harness.html import data, write_html
from arbitrage.harness.rows import RowStatus
from arbitrage.types import StepRecord
from tests.harness import report_runs as runs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REQUIRED = "ARBITRAGE_REQUIRE_BROWSER"
ROUTER = "arbitrage-router (τ=0.5)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the system; without it these tests are skipped, or fail where it is required."""

    def absent(what: str) -> None:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{what} is missing and {REQUIRED}=1", pytrace=False)
        pytest.skip(f"{what} is missing")

    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        absent("playwright")
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        absent("chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found[0], args=["--no-sandbox"])
        yield opened
        opened.close()


@dataclass
class Watched:
    """A page, and what it did that it should not have done."""

    page: Page
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda told: told.type == "error" and self.events.append(f"console: {told.text}"))
        self.page.on("pageerror", lambda error: self.events.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("popup", lambda popup: self.events.append(f"popup: {popup.url}"))
        self.page.on("request", self._request)

    def open(self, file: Path, **fragment: str) -> Page:
        self.page.goto(f"{file.as_uri()}{'#' + urlencode(fragment) if fragment else ''}")
        self.page.wait_for_selector("html[data-ready]", state="attached")
        return self.page

    def _dialog(self, dialog: Any) -> None:
        self.events.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.events.append(f"request: {request.url[:200]}")


Open = Callable[..., Watched]


@pytest.fixture
def watched(browser: Browser) -> Iterator[Open]:
    """Makes watched pages and closes them."""
    contexts = []

    def make(**settings: Any) -> Watched:
        contexts.append(browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings)))
        return Watched(contexts[-1].new_page())

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def small() -> Comparison:
    """Twelve problems with everything that the page shows."""
    return runs.run(12)


@pytest.fixture(scope="module")
def small_page(small: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page."""
    file = tmp_path_factory.mktemp("small") / "page.html"
    write_html({"bench": small}, file)
    return file


SEE_EVERYTHING = """
async () => {
  const settled = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  for (let run = 0; run < page.runs.length; run += 1) {
    openRun(run);
    document.querySelectorAll('.plot').forEach(plot);
    await queue;
    document.querySelectorAll('details').forEach((one) => { one.open = true; });
    for (let place = 0; place < page.runs[run].problems.length; place += 1) {
      for (let strategy = 0; strategy < page.runs[run].strategies.length; strategy += 1) {
        for (const repeat of [0, 1]) {
          page.repeat = repeat;
          page.panes = [{ run, strategy }, { run: 0, strategy: 0 }];
          await openProblem(place);
          const texts = [...document.querySelectorAll('.prose > span')].filter((one) => written.has(one));
          await Promise.all(texts.map(showFormulas));
        }
      }
    }
  }
  for (const one of [...document.querySelectorAll('main button')]) one.click();
  await settled();
}
"""


def see_everything(page: Page) -> None:
    """Draw all charts, open every problem with every solution and all formulas, press every button, search."""
    page.evaluate(SEE_EVERYTHING)
    page.fill("input[type=search]", "<img src=x onerror=window.__pwned=1>$")
    page.fill("input[type=search]", "")


def draw_charts(page: Page) -> None:
    """Draw all charts of the open run without scrolling to them."""
    page.evaluate("() => { document.querySelectorAll('.plot').forEach(plot); return queue; }")


PAYLOADS = {
    "markup": (
        "</script><script>window.__pwned=1;alert(1)</script>",
        "<img src=x onerror='window.__pwned=1'><svg onload=window.__pwned=1><iframe src=javascript:alert(1)>",
        '<a href="javascript:window.__pwned=1">x</a><br><b>%{x}</b>%{customdata[0]}<extra></extra>&lt;img src=x&gt;',
        "<!--<script>--><![CDATA[ ]]>",
    ),
    "TeX": (
        r"\href{javascript:window.__pwned=1}{x}\url{https://example.invalid/}",
        r"\includegraphics{https://example.invalid/x.png}",
        r"\htmlId{xid}{x}\htmlStyle{position:fixed}{x}\htmlData{a=b}{x}\htmlClass{top}{x}",
        r"\def\a{\a\a}\a",
        r"\rule{99999em}{99999em}\kern-9999em\raisebox{9999em}{x}",
        "{" * 1500 + "\\frac" * 400,
    ),
    "characters": (
        "".join(map(chr, range(32))) + "\x7f\u202e\u2066\ufeff\u2028\ufffe",
        "\ud800 a \udfff $\ud835$",
        "__proto__",
        "",
    ),
}


@pytest.mark.parametrize("payloads", PAYLOADS.values(), ids=PAYLOADS)
def test_nothing_that_a_run_contains_is_executed(watched: Open, tmp_path: Path, payloads: tuple[str, ...]) -> None:
    """Payloads in every field: no script of theirs runs, no dialog, no request, no error, no element of their own."""
    file = tmp_path / "page.html"
    write_html({payload: runs.hostile(payload) for payload in payloads}, file)
    seen = watched()
    page = seen.open(file)
    see_everything(page)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("window.__pwned === undefined")
    assert seen.events == []
    foreign = "img, iframe, object, embed, form, base, [onload], [onerror], [onclick], main a[href], #xid, [data-a]"
    assert page.eval_on_selector_all(foreign, "(found) => found.map((one) => one.outerHTML)") == []
    assert page.eval_on_selector_all("script:not([type])", "(found) => found.length") == 3


def test_the_canary_would_be_noticed(watched: Open, small_page: Path) -> None:
    """The checks above can fail: an error, a dialog and a request are seen when the page makes them."""
    seen = watched()
    page = seen.open(small_page)
    page.evaluate("() => { alert('hello'); console.error('told'); }")
    page.evaluate(
        "() => { const image = new Image(); image.src = 'https://example.invalid/x.png'; document.body.append(image); }"
    )
    page.wait_for_timeout(100)
    assert {event.split(":")[0] for event in seen.events} >= {"dialog", "console"}


def test_the_policy_stops_other_scripts_and_every_connection(watched: Open, small_page: Path) -> None:
    """A script that is not of the page does not run even when it gets into the document; nothing can be fetched."""
    seen = watched()
    page = seen.open(small_page)
    page.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.__pwned = 1';"
        " document.body.append(one);"
        " document.body.insertAdjacentHTML('beforeend', '<p onclick=\"window.__pwned = 1\">x</p>');"
        " document.body.lastChild.click(); }"
    )
    assert page.evaluate("window.__pwned === undefined")
    assert page.evaluate("fetch('https://example.invalid/').then(() => 'answered', () => 'refused')") == "refused"
    assert all("Content Security Policy" in event for event in seen.events if event.startswith("console"))
    assert not [event for event in seen.events if event.startswith("request")]


@pytest.mark.parametrize(
    "text", ["x" * 2**20, "$" * 10**6, "$a$ " * 250_000, "\\[" * 500_000], ids=["long", "dollars", "formulas", "open"]
)
def test_a_million_characters_do_not_stop_the_page(watched: Open, tmp_path: Path, text: str) -> None:
    """One such step: its beginning is shown, and all of the text is a click away."""
    asked = runs.problem(0)
    steps = [StepRecord(0, text, "target", 10, rejected_text=text[1:])]
    file = tmp_path / "page.html"
    write_html({"x": runs.comparison([runs.row(ROUTER, asked, steps)], [asked])}, file)
    seen = watched()
    page = seen.open(file, strategy=ROUTER)
    page.wait_for_selector(".cards .link")
    assert len(page.inner_text(".cards")) < 20_000
    page.click(".version.target .link")
    assert page.eval_on_selector(".version.target .prose", "(one) => one.textContent.length") == len(text)
    assert seen.events == []


def test_the_page_shows_what_the_report_says(watched: Open, small: Comparison, small_page: Path) -> None:
    """Every cell of the table stands in the page; all charts are drawn; the page asks nobody for anything."""
    seen = watched()
    page = seen.open(small_page)
    shown = page.eval_on_selector_all(
        "#overview tbody tr", "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    (overview,) = [data.RunData.of("bench", small).overview]
    expected = [row for table in overview["tables"] for row in table["rows"]]
    assert [[cell.replace(" ", "") for cell in row] for row in shown] == [
        [cell.replace(" ", "") for cell in row] for row in expected
    ]
    see_everything(page)
    assert page.locator("figure .plot").count() == 9
    assert seen.events == []


@pytest.mark.parametrize("kind", ["gained", "lost", "wrong", "wasted", "truncated", "error"])
def test_filters_list_the_problems_that_have_the_flag(
    watched: Open, small: Comparison, small_page: Path, kind: str
) -> None:
    """For one strategy and for any, the list is what the flags say, and the count on the chip is its length."""
    page = watched().open(small_page)
    listed = data.RunData.of("bench", small).overview["problems"]
    mask = {
        "gained": data.GAINED,
        "lost": data.LOST,
        "wrong": data.WRONG,
        "wasted": data.WASTED,
        "truncated": data.CUT,
        "error": data.FAILED,
    }[kind]
    place = list(runs.STRATEGIES).index(ROUTER)
    chip = page.locator(f".chip[data-kind={kind}]")
    chip.click()
    for strategy in (-1, place):
        page.select_option(".fields select", str(strategy))
        flags = [
            sum(one["flags"]) and max(flag & mask for flag in one["flags"])
            if strategy < 0
            else one["flags"][strategy] & mask
            for one in listed
        ]
        wanted = [one["id"] for one, flag in zip(listed, flags, strict=True) if flag]
        assert page.eval_on_selector_all(".line .id", "(ids) => ids.map((one) => one.textContent)") == wanted
        assert chip.locator(".n").inner_text() == str(len(wanted))


def test_search_and_level_narrow_the_list(watched: Open, small_page: Path) -> None:
    """Search reads ids, subjects and statements; level and search hold together."""
    page = watched().open(small_page)
    page.fill("input[type=search]", "GEOMETRY")
    assert page.locator(".line").count() == 6
    page.select_option(".fields label:nth-child(2) select", "2")
    assert page.eval_on_selector_all(".line .id", "(ids) => ids.map((one) => one.textContent)") == ["p1", "p11"]
    page.fill("input[type=search]", "no such thing")
    assert page.inner_text(".count") == "Nothing matches these filters."


def test_keys_turn_the_pages_and_leave_fields_alone(watched: Open, small_page: Path) -> None:
    """The keys j and right go on, k and left back, through the filtered list; typing a j is typing."""
    page = watched().open(small_page)

    def opened(wanted: str) -> None:
        page.wait_for_function("(id) => document.querySelector('.problem h3')?.textContent === id", arg=wanted)

    opened("p0")
    for pressed, wanted in [("j", "p1"), ("ArrowRight", "p2"), ("k", "p1"), ("ArrowLeft", "p0"), ("k", "p0")]:
        page.keyboard.press(pressed)
        opened(wanted)
    page.focus(".box")
    page.keyboard.press("ArrowDown")
    opened("p1")
    page.fill("input[type=search]", "p1")
    page.focus("input[type=search]")
    page.keyboard.press("j")
    assert page.input_value("input[type=search]") == "p1j"
    opened("p1")
    page.fill("input[type=search]", "p1")
    page.focus(".box")
    page.keyboard.press("j")
    opened("p10")


def test_the_address_opens_what_it_names(watched: Open, small_page: Path) -> None:
    """Problem, strategy and the one beside it; what is opened by hand is written into the address."""
    seen = watched()
    page = seen.open(small_page, problem="p7", strategy="rsd (τ=0.7)", beside="target-only")
    page.wait_for_selector(".pane")
    assert page.inner_text(".problem h3") == "p7"
    assert page.eval_on_selector_all(".pane", "(panes) => panes.map((one) => one.getAttribute('aria-label'))") == [
        "rsd (τ=0.7)",
        "target-only",
    ]
    page.click("[aria-label='next problem']")
    page.wait_for_function("() => document.querySelector('.problem h3').textContent === 'p8'")
    assert "problem=p8" in page.url
    again = watched().open(small_page, **dict(problem="p8", strategy="rsd (τ=0.7)"))
    again.wait_for_selector(".pane")
    assert again.inner_text(".problem h3") == "p8"
    page.evaluate("location.hash = 'problem=nobody&strategy=nobody'")
    assert seen.events == []


def test_several_runs_share_a_page(watched: Open, small: Comparison, tmp_path: Path) -> None:
    """Each run has its results and list; a solution of another run can stand beside one of this."""
    file = tmp_path / "page.html"
    write_html({"first": small, "second": runs.run(3, seed=1)}, file)
    seen = watched()
    page = seen.open(file, run="second", problem="p1", strategy=ROUTER, beside=ROUTER, **{"beside-run": "first"})
    page.wait_for_selector(".pane >> nth=1")
    assert page.inner_text(".turn .quiet") == "2 of 3"
    page.select_option("#runs select", "0")
    page.wait_for_function("() => document.querySelector('.turn .quiet').textContent === '1 of 12'")
    page.evaluate("page.panes[1] = { run: 1, strategy: 0 }; openProblem(11)")
    page.wait_for_function("() => document.querySelectorAll('.pane')[1]?.textContent.includes('not part of that run')")
    assert seen.events == []


def test_a_step_shows_both_versions_who_wrote_them_and_what_it_cost(watched: Open, tmp_path: Path) -> None:
    """Author by letter and name, discarded version left, rewards, waste, threshold, seconds, tokens, estimate."""
    asked = runs.problem(0)
    steps = [
        StepRecord(0, "kept", "draft", 20, draft_tokens=20, score=0.2, router_score=0.2, latency_s=0.6,
                   unused_target_text="not used", time_s={"draft": 0.4, "router": 0.1}),
        StepRecord(1, "better", "target", 9, draft_tokens=8, target_tokens=9, score=0.7, router_score=0.7,
                   rejected_text="worse", draft_reward=0.5, target_reward=0.25, latency_s=1.5, time_s={"target": 1.2}),
        StepRecord(2, "same", "target", 3, rejected_text="same"),
    ]  # fmt: skip
    alone = StepRecord(0, "a", "target", 10, time_s={"target": 1.0})
    rows = [
        runs.row("target-only", asked, [alone]),
        runs.row(ROUTER, asked, steps, status=RowStatus.INCORRECT, answer="7", method="numeric", reason="7 is not 1/2"),
    ]
    file = tmp_path / "page.html"
    write_html({"x": runs.comparison(rows, [asked])}, file)
    page = watched().open(file, problem="p0", strategy=ROUTER)
    page.wait_for_selector(".cards")
    first, second, third = page.locator(".card").all()
    assert first.locator(".badge").inner_text() == "D"
    assert [one.inner_text() for one in first.locator(".fate").all()] == ["draft · kept", "target · not used"]
    assert "0.200 < τ 0.5" in first.inner_text()
    assert "saved ≈ 1.50 s (estimated)" in first.inner_text()
    assert "600 ms (draft 400 ms, router 100 ms)" in first.inner_text()
    assert second.locator(".badge").inner_text() == "T"
    assert [one.inner_text() for one in second.locator(".prose").all()] == ["worse", "better"]
    for told in ("wasted", "−0.250 reward", "reward D\n0.500", "8 tokens (draft) + 9 tokens (target)"):
        assert told.replace("\n", "") in second.inner_text().replace("\n", "")
    assert "The draft wrote the same text." in third.inner_text()
    assert "numeric: 7 is not 1/2" in page.inner_text(".verdict")


def test_mathematics_is_set_and_what_is_none_stays_text(watched: Open, tmp_path: Path) -> None:
    """Brackets of four kinds, bare boxes and environments become formulas; prices and broken TeX stay as written."""
    text = (
        r"It costs $5 and $6, not \$7. $x^2$, \(y\), $$z$$ and \[\frac{1}{2}\] so \boxed{3}; $\frac{1$ and $\unknown$."
        r" \begin{align*}a&=b\\c&=d\end{align*} \begin{tabular}{c}a\end{tabular}"
    )
    asked = runs.problem(0, text)
    file = tmp_path / "page.html"
    write_html({"x": runs.comparison([runs.row(ROUTER, asked, [StepRecord(0, text, "draft", 1)])], [asked])}, file)
    seen = watched()
    page = seen.open(file, problem="p0")
    page.wait_for_selector(".statement .prose .katex")
    assert page.locator(".statement .prose .katex").count() == 6
    assert page.locator(".statement .prose .katex-display").count() == 3
    shown = page.inner_text(".statement .prose")
    assert "It costs $5 and $6, not $7." in shown
    assert [one.inner_text() for one in page.locator(".statement .unread").all()] == [r"$\frac{1$", r"$\unknown$"]
    assert seen.events == []


def test_lines_of_nothing_but_tex_are_set_where_tex_shows_all_of_them(watched: Open, small_page: Path) -> None:
    """Small models write no brackets. What TeX would swallow or read otherwise stays text: blanks, %, braces, 2^10."""
    page = watched().open(small_page)
    lines = {
        "b^2=1^2=1": True,
        r"4c=4\cdot(-30)=-120": True,
        r"\frac{14}{12}=\frac{7}{6}, x<3": True,
        "-7<3x-3<7": True,
        "Right: 7-3=4": False,
        "so x=3": False,
        "x = 3 5": False,
        "50%=0.5": False,
        "{1,2}=A": False,
        "2^10=1024": False,
        "2^-3=y": False,
        "it's 5": False,
        r"\text{so}=3": False,
    }
    found = page.evaluate("(lines) => lines.map((line) => pieces(line).some((one) => one.tex !== undefined))", [*lines])
    assert dict(zip(lines, found, strict=True)) == lines
    mixed = page.evaluate("(text) => pieces(text).map((one) => one.tex ?? one.text)", "x=1\nso\ny=2")
    assert "".join(mixed) == "x=1\nso\ny=2"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800])
def test_the_page_fits_its_window(watched: Open, small_page: Path, width: int, scheme: str) -> None:
    """Nothing makes the page wider than the window, one solution or two beside each other."""
    page = watched(viewport={"width": width, "height": 900}, color_scheme=scheme).open(small_page)
    draw_charts(page)
    page.wait_for_selector(".cards")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("() => { page.panes[1] = { run: 0, strategy: 5 }; return show(); }")
    assert page.locator(".pane").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_to_press_has_a_name(watched: Open, small_page: Path) -> None:
    """Buttons, fields and figures have names for those who hear the page; tables have headers, the list its places."""
    page = watched().open(small_page)
    page.wait_for_selector(".cards")
    named = "one.labels?.length || one.getAttribute('aria-label') || one.textContent.trim()"
    unnamed = f"(all) => all.filter((one) => !({named})).length"
    assert page.eval_on_selector_all("button, select, input, .plot, [role=listbox], [role=region]", unnamed) == 0
    headless = "(all) => all.filter((one) => !one.querySelector('th[scope=col]')).length"
    assert page.eval_on_selector_all("table", headless) == 0
    assert page.locator("[role=option][aria-selected=true]").get_attribute("aria-posinset") == "1"


def test_it_prints_in_ink_on_paper(watched: Open, small_page: Path) -> None:
    """Printing from a dark screen gives dark letters, in the charts too, and no list."""
    page = watched(color_scheme="dark").open(small_page)
    draw_charts(page)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.querySelector('.xtick text')).fill") == "rgb(43, 48, 54)"
    assert not page.is_visible(".list")
    assert page.pdf().startswith(b"%PDF")


@pytest.mark.slow
def test_five_hundred_problems_are_no_burden(watched: Open, tmp_path: Path) -> None:
    """500 problems, 7 strategies, 15 steps of 200 characters: a page below 25 MB that holds few lines at once.

    How long it takes is measured by benchmarks/report_page.py.
    """
    file = tmp_path / "page.html"
    write_html({"big": runs.run(500, steps=15, characters=200)}, file)
    assert file.stat().st_size < 25e6
    seen = watched()
    page = seen.open(file)
    page.wait_for_selector(".cards")
    for kind in ("lost", "wasted", "all"):
        page.evaluate(f"document.querySelector('[data-kind={kind}]').click()")
    page.evaluate("page.list.box.scrollTop = 10000")
    assert 0 < page.locator(".line").count() < 60
    page.evaluate("openProblem(499)")
    page.wait_for_selector("text=p499")
    assert seen.events == []
