"""How long the HTML report takes: to write, to open, to filter, to search, and to show a problem.

python benchmarks/report_page.py --out runs/report-page        # 500 problems, 7 strategies, 15 steps of 200 characters

Made-up rows (`tests/harness/report_runs.py`) in the system's Chromium, without a window; the slowest action counts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from arbitrage.harness import environment
from arbitrage.harness.html import write_html
from tests.harness import report_runs

AIMS = {
    "written, s": 60.0,
    "size, MB": 25.0,
    "interactive, s": 3.0,
    "a filter, ms": 200.0,
    "a search, ms": 200.0,
    "a problem, ms": 500.0,
}


def milliseconds(page: Page, action: str) -> float:
    """Until what `action` changes is on the screen."""
    found: float = page.evaluate(
        f"(async () => {{ const started = performance.now(); {action};"
        " await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
        " return performance.now() - started; })()"
    )
    return found


def measure(problems: int, steps: int, characters: int) -> dict[str, float]:
    """Everything in `AIMS`."""
    run = report_runs.run(problems, steps=steps, characters=characters)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        started = time.perf_counter()
        write_html({"run": run}, file)
        written = time.perf_counter() - started
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        started = time.perf_counter()
        page.goto(file.as_uri())
        page.wait_for_selector(".cards")
        interactive = time.perf_counter() - started
        page.wait_for_timeout(3000)  # charts are drawn when nothing else is to do
        found = {
            "written, s": written,
            "size, MB": file.stat().st_size / 1e6,
            "interactive, s": interactive,
            "a filter, ms": max(
                milliseconds(page, f"document.querySelector('[data-kind={kind}]').click()")
                for kind in ("lost", "wasted", "all")
            ),
            "a search, ms": milliseconds(page, "page.list.filter({ words: 'roots' })"),
            "a problem, ms": max(
                milliseconds(page, f"await openProblem({place})") for place in (1, problems // 2, problems - 1)
            ),
        }
        browser.close()
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--characters", type=int, default=200)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.problems, arguments.steps, arguments.characters)
    sizes = f"{arguments.problems} problems, {len(report_runs.STRATEGIES)} strategies, {arguments.steps} steps of "
    table = Table(title=f"{sizes}{arguments.characters} characters", title_justify="left")
    for column in ("what", "measured", "aim: below"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for what, value in found.items():
        table.add_row(what, f"{value:.3g}", f"{AIMS[what]:g}")
    Console(width=100).print(table)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "results.json").write_text(
            json.dumps({**found, **environment.surroundings()}, indent=1) + "\n"
        )
        with (arguments.out / "table.txt").open("w") as file:
            Console(file=file, width=100).print(table)


if __name__ == "__main__":
    main()
