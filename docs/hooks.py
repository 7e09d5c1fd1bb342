"""Hooks of the documentation's build: pages that are made from the code, and the copy of KaTeX.

KaTeX is not vendored twice: the site takes it from the package, which needs it for its HTML reports.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import generate  # noqa: E402 - found by the line above

log = get_plugin_logger("arbitrage")

KATEX = ROOT / "arbitrage/harness/html/assets/katex"
"""Folder with katex.min.js, katex.min.css and the fonts that it names."""
_NAMES = ("katex.min.js", "katex.min.css")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Load KaTeX before the script that uses it."""
    found = [next(iter(sorted(KATEX.rglob(name))), None) for name in _NAMES]
    if None in found:
        log.warning(f"KaTeX is not in {KATEX}: formulas stay as they are written")
        return config
    script, style = (f"assets/katex/{file.relative_to(KATEX).as_posix()}" for file in found if file is not None)
    config.extra_css.insert(0, style)
    config.extra_javascript.insert(0, script)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add KaTeX and the pictures of committed results."""
    copies = {f"assets/katex/{file.relative_to(KATEX).as_posix()}": file for file in KATEX.rglob("*") if file.is_file()}
    copies |= {f"{generate.PICTURES}/{name}.png": file for name, file in generate.pictures().items()}
    for place, file in sorted(copies.items()):
        if file.suffix != ".md":
            files.append(File.generated(config, place, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put generated parts into their places."""
    return generate.fill(markdown)
