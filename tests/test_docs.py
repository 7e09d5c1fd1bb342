"""The documentation builds offline, its examples run, its commands parse, and nothing that exists is missing."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer.main

from arbitrage.backends.loading import BUNDLED, parse_spec
from arbitrage.cli.app import app
from arbitrage.harness.rows import Row, WarmUp
from arbitrage.registry import Registry
from arbitrage.strategy_specs import parse_strategies
from arbitrage.types import Problem, StepRecord

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SUMS = ROOT / "examples" / "sums"
PAGES = {file.stem: file.read_text(encoding="utf-8") for file in sorted(DOCS.glob("*.md"))}
TEXTS = {**PAGES, "sums": (SUMS / "README.md").read_text(encoding="utf-8")}

sys.path[:0] = [str(DOCS), str(SUMS)]
import generate  # noqa: E402 - found by the line above


@pytest.mark.parametrize("page", TEXTS)
def test_fences_pair_up(page: str) -> None:
    """A block that is not closed swallows the text behind it: openings and bare closings take turns."""
    fences = [line.strip() for line in TEXTS[page].splitlines() if line.strip().startswith("```")]
    assert len(fences) % 2 == 0
    assert all(fence == "```" for fence in fences[1::2])


def python_blocks(page: str) -> list[str]:
    """Fenced blocks of Python."""
    return re.findall(r"```python\n(.*?)```", PAGES[page], re.DOTALL)


def commands(pages: Iterable[str] = TEXTS) -> list[str]:
    """Indented `arbitrage …` lines of every page, continuation lines joined."""
    found = []
    for page in pages:
        lines = re.sub(r"\\\n\s*", " ", TEXTS[page]).splitlines()
        found += [line.strip() for line in lines if re.match(r"    arbitrage \w", line)]
    return found


def environment(place: Path | None = None) -> dict[str, str]:
    """What a process needs to find this package, the examples, and packages installed in `place`."""
    paths = [*([place] if place else []), ROOT, SUMS]
    told = {"PYTHONPATH": os.pathsep.join(map(str, paths)), "COLUMNS": "200", "NO_COLOR": "1"}
    return {**os.environ, **told, "NO_MKDOCS_2_WARNING": "1"}


def run(arguments: list[str], directory: Path, place: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        arguments,
        cwd=directory,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        stdin=subprocess.DEVNULL,
    )


# The site.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning (a missing page, file or anchor) is a failure."""
    if importlib.util.find_spec("material") is None:
        if os.environ.get("ARBITRAGE_REQUIRE_DOCS") == "1":
            pytest.fail("mkdocs-material is not installed; install the docs extra")
        pytest.skip("mkdocs-material is not installed (docs extra)")
    target = tmp_path_factory.mktemp("site")
    done = run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target)], ROOT)
    assert done.returncode == 0, done.stderr
    return target


class _Page(HTMLParser):
    """Collects what a page loads, where it links to, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := given.get(key))}
        source, target = given.get("src"), given.get("href")
        if tag in ("script", "img", "iframe", "source") and source:
            self.loaded.append(source)
        if tag == "link" and target and given.get("rel") != "canonical":
            self.loaded.append(target)
        if tag == "a" and target:
            self.linked.append(target)


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    """Every script, style, font and picture lies in the site."""
    for file in site.glob("*.html"):
        for source in _Page(file.read_text(encoding="utf-8")).loaded:
            assert not re.match(r"(https?:)?//", source), f"{file.name} loads {source}"
            if file.name != "404.html":
                assert (site / source.split("?")[0]).is_file(), f"{file.name} loads {source}, which is not there"
    for style in site.rglob("*.css"):
        for source in re.findall(r"url\(['\"]?([^)'\"]+)", style.read_text(encoding="utf-8")):
            if not source.startswith(("data:", "#")):
                assert not re.match(r"(https?:)?//", source), f"{style} loads {source}"


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    """Pages and anchors, generated ones too; links to the web are left alone."""
    pages = {file.name: _Page(file.read_text(encoding="utf-8")) for file in site.glob("*.html")}
    for name, page in pages.items():
        if name == "404.html":
            continue
        for link in page.linked:
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            found = name if target in ("", ".") else target
            assert (site / found).is_file(), f"{name} links to {link}"
            if anchor and found in pages:
                assert anchor in pages[found].anchors, f"{name} links to {link}"


def test_formulas_are_rendered_by_a_script_of_the_site(site: Path) -> None:
    """KaTeX with its fonts stands in the site, and pages load it before the script that calls it."""
    text = (site / "methods.html").read_text(encoding="utf-8")
    assert 'class="arithmatex"' in text
    scripts = [source for source in _Page(text).loaded if source.endswith(".js")]
    places = [next(i for i, s in enumerate(scripts) if name in s) for name in ("katex.min.js", "mathematics.js")]
    assert places == sorted(places)
    assert list(site.rglob("KaTeX_Main-Regular.woff2"))


def test_links_between_files_of_the_repository_resolve() -> None:
    """Also for readers of the Markdown itself."""
    for name, text in TEXTS.items():
        folder = SUMS if name == "sums" else DOCS
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", re.sub(r"`[^`]*`", "", text)):
            assert (folder / link).exists(), f"{name} links to {link}"


# Examples.


@pytest.mark.parametrize("number", range(len(python_blocks("extending"))))
def test_the_examples_for_extending_run(number: int, tmp_path: Path) -> None:
    """Every block of Python beside the files of the package, as a script or, where it holds a test class, as tests."""
    (tmp_path / "test_block.py").write_text(python_blocks("extending")[number], encoding="utf-8")
    is_test = "class Test" in python_blocks("extending")[number]
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_block.py"] if is_test else ["test_block.py"]
    done = run([sys.executable, "-W", "error", *arguments], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    if is_test:
        assert "passed" in done.stdout
        assert "failed" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", ["getting-started", "reading-the-numbers"])
def test_the_examples_on_bundled_models_run(page: str, tmp_path: Path) -> None:
    """The other blocks of Python, on fewer problems."""
    pytest.importorskip("torch")
    for block in python_blocks(page):
        quick = re.sub(r"repeats=\d+", "repeats=1", re.sub(r"limit=\d+", "limit=2, threads=1", block))
        done = run([sys.executable, "-c", quick], tmp_path)
        assert done.returncode == 0, done.stderr


def test_examples_that_need_a_gpu_are_python() -> None:
    """What cannot be run here at least compiles, and names only what can be imported."""
    for block in python_blocks("reproducing"):
        compile(block, "reproducing.md", "exec")
        exec("\n".join(line for line in block.splitlines() if line.startswith("from arbitrage import")), {})


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example's entry points, laid out as an installer would."""
    import tomllib

    place = tmp_path_factory.mktemp("packages")
    project = tomllib.loads((SUMS / "pyproject.toml").read_text(encoding="utf-8"))
    points = project["project"]["entry-points"]["arbitrage"]
    assert sorted(points.values()) == sorted(project["tool"]["setuptools"]["py-modules"])
    assert sorted(points.values()) == sorted(file.stem for file in SUMS.glob("*.py"))
    info = place / "arbitrage_sums-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: arbitrage-sums\nVersion: 1.0.0\n", encoding="utf-8")
    lines = ["[arbitrage]", *(f"{name} = {module}" for name, module in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


def test_the_example_package_is_listed_by_all_that_it_brings(installed: Path, tmp_path: Path) -> None:
    """A backend, two scorers, a data set and a strategy, with their distribution."""
    done = run([sys.executable, "-m", "arbitrage", "ls"], tmp_path, installed)
    assert done.returncode == 0, done.stderr
    for name in ("adder", "sum-checker", "carry-router", "sums", "draft-doubt"):
        lines = [line for line in done.stdout.splitlines() if re.search(rf"(^|\s){name}\s", line)]
        assert any("arbitrage-sums" in line for line in lines), name


def test_the_example_package_is_benchmarked_by_its_own_command(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of the page: the doubting draft is as good as the target; the observer sees steps and rows."""
    monkeypatch.setenv("SUMS_LOG", str(tmp_path / "log.jsonl"))
    (command,) = [line for line in commands(["extending"]) if "adder:careful" in line]
    arguments = [*shlex.split(command.replace("--limit 20", "--limit 6"))[1:], "--out", "run"]
    done = run([sys.executable, "-m", "arbitrage", *arguments], tmp_path, installed)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))["strategies"]
    accuracy = {label: one["accuracy"] for label, one in found.items()}
    assert accuracy["target-only"] == accuracy["draft-doubt (τ=-0.1)"] == 1.0
    assert accuracy["draft-only"] < 0.8
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [line for line in (tmp_path / "run" / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [line for line in (tmp_path / "run" / "steps.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum("status" in entry for entry in log) == len(rows)
    assert sum("step" in entry for entry in log) >= len(steps)


# Commands.


def _parse(words: list[str]) -> dict[str, object]:
    """Read a command line as typer does, without running anything; the values of its options."""
    command = typer.main.get_command(app)
    for depth, word in enumerate(words[1:], start=1):
        command = command.commands[word]  # type: ignore[attr-defined]
        if not hasattr(command, "commands"):
            return dict(command.make_context(" ".join(words[: depth + 1]), words[depth + 1 :]).params)
    raise AssertionError(f"{shlex.join(words)} names no command")


@pytest.mark.parametrize("line", commands())
def test_commands_in_the_pages_can_be_typed(line: str) -> None:
    """Commands, options, strategies with their parameters, and models are ones that exist."""
    values = _parse(shlex.split(line.replace("\\$", "$"), comments=True))
    registry = Registry()
    for module in ("sums_strategy", "sums_backend"):
        registry.add(module, importlib.import_module(module))
    if isinstance(strategy := values.get("strategy"), str):
        parse_strategies(strategy, registry)
    for role in ("draft", "target", "prm", "router"):
        if isinstance(spec := values.get(role), str):
            scorers = registry.names("scorer") if role in ("prm", "router") else []
            assert parse_spec(spec, "hf").backend in (*registry.names("backend"), *scorers, BUNDLED)


def test_strategies_in_running_text_can_be_typed() -> None:
    """`rsd:threshold=0.6` and its like, wherever they stand."""
    registry = Registry()
    registry.add("sums_strategy", importlib.import_module("sums_strategy"))
    names = "|".join(map(re.escape, registry.names("strategy")))
    found = {spec for text in TEXTS.values() for spec in re.findall(rf"`((?:{names}):[^`\s]+)`", text)}
    assert len(found) > 3
    for spec in found:
        parse_strategies(spec, registry)


def test_every_command_is_in_the_reference_with_every_option() -> None:
    """The generated page against what typer itself makes of the functions."""
    text = generate.cli()
    seen = set()

    def visit(name: str, command: object) -> None:
        seen.add(name)
        told = {one.spelling for one in generate.parameters(generate.commands()[name]) if not one.is_argument}
        assert f"## {name}\n" in text
        for one in command.params:  # type: ignore[attr-defined]
            if one.param_type_name == "option" and one.name not in ("help", "install_completion", "show_completion"):
                assert " ".join((*one.opts, *one.secondary_opts)) in told, (name, one.opts)
                assert f"| `{' '.join((*one.opts, *one.secondary_opts))}` |" in text
        for child, found in getattr(command, "commands", {}).items():
            visit(f"{name} {child}", found)

    visit("arbitrage", typer.main.get_command(app))
    assert seen == set(generate.commands())


# What exists is documented.


def test_every_registered_name_is_documented() -> None:
    """Strategies have a section of their own, backends and data sets are named where they belong."""
    registry = Registry()
    headings = re.findall(r"^## (.*)", PAGES["methods"], re.MULTILINE)
    for name in registry.names("strategy"):
        assert any(name in heading for heading in headings), f"methods.md has no section on {name}"
        assert f"| `{name}` |" in generate.strategies()
    for name in registry.names("backend"):
        assert f"| `{name}` |" in PAGES["backends"]
    for name in registry.names("dataset"):
        assert f"| `{name}` |" in generate.datasets()
    for page in ("index", "methods", "getting-started", "cli", "schema", "benchmarks"):
        assert "<!-- generated: " in PAGES[page]
        assert "<!-- generated: " not in generate.fill(PAGES[page])


def test_every_file_of_the_example_is_shown() -> None:
    """The page holds the files themselves, so it cannot show other code than what is tested."""
    shown = generate.fill(PAGES["extending"])
    for file in [*SUMS.glob("*.py"), SUMS / "pyproject.toml"]:
        assert file.read_text(encoding="utf-8").strip() in shown


FILES = {name: parts for name, _, parts in generate.FILES}


@pytest.mark.parametrize(
    ("file", "kind", "absent"),
    [
        ("rows.jsonl", Row, {"steps"}),
        ("steps.jsonl", StepRecord, set()),
        ("problems.jsonl", Problem, {"solution"}),
        ("warmup.jsonl", WarmUp, set()),
    ],
)
def test_every_field_of_a_run_is_in_the_schema(file: str, kind: type, absent: set[str]) -> None:
    """Fields of the types that are written, in the table of their file."""
    section = generate.schema().split(f"## `{file}`")[1].split("\n## ")[0]
    for field in dataclasses.fields(kind):
        assert (f"| `{field.name}` |" in section) != (field.name in absent), field.name


def test_every_field_in_the_schema_has_a_meaning() -> None:
    """A field that is added without a docstring is noticed here."""
    for name, parts in FILES.items():
        for part in parts:
            for field, _, meaning in generate.fields_of(generate.load(part.type)):
                assert meaning or field in part.without, f"{name}: {part.type} does not say what {field} means"
    for row in (*generate.summary().splitlines(), *generate.values().splitlines()):
        assert not re.search(r"\|\s*\|$", row), row


def test_a_run_writes_what_the_schema_says(tmp_path: Path) -> None:
    """Every key of every file of a real run folder stands in the schema, and every file too."""
    from arbitrage import Models, run_comparison

    adders = importlib.import_module("sums_backend").AdderBackend()
    scorers = importlib.import_module("sums_scorer")
    models = Models(
        draft=adders.language_model("careless"),
        target=adders.language_model("careful"),
        prm=scorers.SumChecker(),
    )
    problems = importlib.import_module("sums_dataset").sums(limit=3)
    run_comparison(["rsd", "arbitrage-oracle"], models, dataset=problems, out=tmp_path / "run", progress=False)
    page = generate.fill(PAGES["schema"])
    for file in (tmp_path / "run").iterdir():
        assert f"`{file.name}`" in page, f"schema.md does not know {file.name}"
    for name in ("problems.jsonl", "rows.jsonl", "steps.jsonl", "warmup.jsonl"):
        lines = (tmp_path / "run" / name).read_text(encoding="utf-8").splitlines()
        assert lines
        assert _undocumented(set().union(*(json.loads(line) for line in lines)), name) == set()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text(encoding="utf-8"))
    keys = {*manifest, *manifest["identity"], *manifest["dataset"], *manifest["sessions"][0]}
    assert _undocumented(keys, "manifest.json") == set()
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    told = set(re.findall(r"`(\w+)`", page))
    assert {*results, *(key for one in results["strategies"].values() for key in one)} <= told


def _undocumented(keys: set[str], file: str) -> set[str]:
    told = {field for part in FILES[file] for field, _, _ in generate.fields_of(generate.load(part.type))}
    return keys - told - {name for part in FILES[file] for name, _, _ in part.added}
