"""A fair part of a large set of problems: unique by text, stratified by source, the same whatever the order of rows.

Pure functions; knows no files (arXiv:2512.05033: 30 000 problems of NuminaMath-CoT).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

SAMPLE = 30_000
SEED = 42


def normal(text: str) -> str:
    """`text` in small letters with single spaces: equal for problems that differ in nothing else."""
    return " ".join(text.split()).casefold()


_NUMBER = re.compile(r"^\s*(?:(?:problem|question|exercise)\s+\d+\s*[.:)]?|\(?\d{1,4}[.)])\s+(?=[^\W\d_]|[$\\])")
"""What numbers a problem: `1.`, `(2)`, `Problem 3:`; only where a word or a formula follows."""
_UNSEEN = re.compile(r"\s+|\$|\\[()]|\\(?:left|right)(?![a-z])")
"""What typesets a text and says nothing."""
_EDGES = ".,:;!?"


def text_key(text: str) -> str:
    r"""Equal for two typesettings of one text.

    Without a number in front, spaces, letter case, punctuation at the ends, `$`, `\(`, `\)`, `\left` and `\right`;
    `\dfrac` and `\tfrac` are `\frac`. A text that is nothing else keeps itself.
    """
    folded = text.casefold()
    bare = _UNSEEN.sub("", _NUMBER.sub("", folded)).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    return bare.strip(_EDGES) or folded


def unique(rows: Iterable[tuple[str, str, str]]) -> list[int]:
    """Positions of the rows that stay when each text may be there once, in the order of `rows`.

    Args:
        rows: (source, problem, anything that tells apart rows that agree in both). Of rows with the same problem, by
            `text_key`, the one with the smallest source stays, then the one with the smallest digest of the third part.
    """
    best: dict[bytes, tuple[str, bytes, bytes, int]] = {}
    for index, (source, text, rest) in enumerate(rows):
        key = _digest(text_key(text))
        mine = (source, _digest(rest), _digest(text), index)
        best[key] = min(mine, best.get(key, mine))
    return sorted(index for *_, index in best.values())


def quotas(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """How many of each source belong to a sample of `size`, by largest remainder; equal remainders by name.

    Args:
        counts: how many there are of each.
        size: of the sample; all of them when there are not more.
    """
    total = sum(counts.values())
    if size >= total:
        return dict(counts)
    shares = {name: divmod(count * size, total) for name, count in counts.items()}
    taken = {name: whole for name, (whole, _) in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (-shares[name][1], name))
    for name in by_remainder[: size - sum(taken.values())]:
        taken[name] += 1
    return taken


def stratified(sources: Sequence[str], texts: Sequence[str], size: int, seed: int = SEED) -> list[int]:
    """Positions of a sample in which every source has its share, in an order that depends on the texts alone.

    Args:
        sources: where each problem is from.
        texts: the problems, all different.
        size: of the sample.
        seed: which sample.
    """
    ranked = sorted(range(len(texts)), key=lambda i: _digest(f"{seed}\n{normal(texts[i])}"))
    counts: dict[str, int] = {}
    for source in sources:
        counts[source] = counts.get(source, 0) + 1
    left = quotas(counts, size)
    chosen = []
    for i in ranked:
        if left[sources[i]] > 0:
            left[sources[i]] -= 1
            chosen.append(i)
    return chosen


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()[:16]
