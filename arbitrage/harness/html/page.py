"""Puts the page together: template, styles, scripts and data in one file that needs no network.

Nothing that a run contains stands in the page as markup. All of it is gzip-compressed JSON in base64, whose alphabet
has no character that could end a data block, and reaches the document as text. The Content-Security-Policy allows no
connection, and of scripts only those whose hashes it lists.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

from arbitrage.errors import MissingExtraError, RunError
from arbitrage.harness.comparison import Comparison
from arbitrage.harness.html.data import RunData
from arbitrage.harness.run_folder import write_whole

SCRIPTS = ("dom", "blobs", "tex", "results", "charts", "problems", "steps", "main")
"""Parts of the page's script under `assets/js`, in order."""

_ASSETS = resources.files("arbitrage.harness.html") / "assets"
_FONT = re.compile(r"src:url\(fonts/([\w-]+\.woff2)\) format\(\"woff2\"\)[^}]*")
_SLOT = re.compile(r"<!--(\w+)-->")


def write_html(comparisons: Mapping[str, Comparison], file: Path) -> None:
    """Write the page.

    Args:
        comparisons: runs by the name that the page shows, usually the folder's.
        file: where to write it; replaced when it exists.

    Raises:
        RunError: there is no run, or the file cannot be written.
        MissingExtraError: plotly is not installed.
    """
    if not comparisons:
        raise RunError("a page needs at least one run; name a folder")
    runs = [RunData.of(name, comparison) for name, comparison in comparisons.items()]
    script = "'use strict';\n" + "\n".join(_asset(f"js/{part}.js") for part in SCRIPTS)
    libraries = {"plotly": _plotly(), "katex": _asset("katex/katex.min.js")}
    slots = {
        "policy": html.escape(policy([script, *libraries.values()])),
        "style": f"<style>\n{_asset('report.css')}</style>",
        "data": "\n".join(_data_blocks(runs, libraries)),
        "script": f"<script>{script}</script>",
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, _SLOT.sub(lambda slot: slots[slot[1]], _asset("template.html")).encode())


def policy(scripts: list[str]) -> str:
    """The Content-Security-Policy: no network, no frames, no forms, no scripts but these.

    Styles may be inline because plotly and KaTeX position by them; without a network a style tells nobody anything.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    allowed = {
        "default-src": "'none'",
        "script-src": hashes,
        "style-src": "'unsafe-inline'",
        "font-src": "data:",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{what} {sources}" for what, sources in allowed.items())


def _data_blocks(runs: list[RunData], libraries: Mapping[str, str]) -> Iterator[str]:
    """Overviews first, because they are wanted first; chunks last."""
    yield _block("overview", _json([run.overview for run in runs]))
    yield _block("katex-style", _katex_style().encode())
    for name, source in libraries.items():
        yield _block(name, source.encode())
    for place, run in enumerate(runs):
        for index, chunk in enumerate(run.chunks()):
            yield _block(f"chunk-{place}-{index}", _json(chunk))


def _block(name: str, content: bytes) -> str:
    """A data block that no content can break out of."""
    packed = base64.b64encode(gzip.compress(content, compresslevel=9, mtime=0)).decode()
    return f'<script type="application/gzip" id="data-{name}">{packed}</script>'


def _json(value: object) -> bytes:
    """ASCII only: what is no valid text, such as half a surrogate pair, stays an escape."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError.of("the HTML report", "plotly", "report") from error
    return str(get_plotlyjs())


def _katex_style() -> str:
    """KaTeX's style sheet with its fonts inside."""

    def embedded(found: re.Match[str]) -> str:
        font = base64.b64encode((_ASSETS / "katex" / "fonts" / found[1]).read_bytes()).decode()
        return f'src:url(data:font/woff2;base64,{font}) format("woff2")'

    return _FONT.sub(embedded, _asset("katex/katex.min.css"))


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
