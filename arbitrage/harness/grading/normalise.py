"""Formatting that never matters: one spelling for answers that differ only in how they are typeset.

Knows characters and LaTeX commands. Knows nothing about what an answer means; the result is still LaTeX-like text.
"""

from __future__ import annotations

import re
import unicodedata

ROW = "\ue001"
"""Stands for the row break of a matrix (two backslashes), so that no spacing command is seen inside it."""

AND, OR = r"\and", r"\or"
"""Connectives between answers, whether they were written as words, as text or as logic symbols."""

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ", "0123456789-n", strict=True))
_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_SYMBOLS = {
    "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "×": r"\times ", "÷": "/", "∕": "/", "⁄": "/",
    "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "∗": "*", "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-",
    "′": "'", "’": "'", "±": r"\pm ", "∓": r"\mp ", "º": "°", "˚": "°", "≈": r"\approx ", "∠": r"\angle ",
    "…": r"\ldots ", "∖": r"\setminus ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}",
    "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ",
    "⌉": r"\rceil ", "⟨": r"\langle ", "⟩": r"\rangle ", "∧": AND + " ", "∨": OR + " ", "∣": "|", "％": "%",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\epsilon ",
    "λ": r"\lambda ", "μ": r"\mu ", "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "φ": r"\phi ", "ω": r"\omega ",
    "Δ": r"\Delta ", "Ω": r"\Omega ",
    "€": r"\$", "£": r"\$", "“": '"', "”": '"', "\u00a0": " ",
}  # fmt: skip
_SYMBOL = re.compile("|".join(map(re.escape, _SYMBOLS)))

_SAME_COMMAND = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "leq": "le",
    "leqslant": "le",
    "geq": "ge", "geqslant": "ge", "neq": "ne", "lt": "<", "gt": ">", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[",
    "rbrack": "]", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "colon": ":", "infin": "infty", "ast": "*",
    "varnothing": "emptyset", "degree": "°", "backslash": "setminus", "smallsetminus": "setminus", "land": "and",
    "wedge": "and", "lor": "or", "vee": "or", "dots": "ldots", "cdots": "ldots", "prime": "'", "percent": "%",
    "dollar": r"\$", "Reals": r"\mathbb{R}", "R": r"\mathbb{R}", "Z": r"\mathbb{Z}", "N": r"\mathbb{N}",
    "thinspace": " ", "quad": " ", "qquad": " ", "displaystyle": " ", "textstyle": " ", "limits": " ", "nolimits": " ",
    "bf": " ", "rm": " ", "it": " ", "hfill": " ", "left": "", "right": "", "middle": "", "textdegree": "°", "div": "/",
    "overrightarrow": "vec", "widehat": "hat", "longrightarrow": "to", "rightarrow": "to", "iff": "Leftrightarrow",
}  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+)[ \t]*(?=([A-Za-z])?)")
_SIZES = re.compile(r"\\[bB]igg?[lrm]?(?![A-Za-z])")
_NULL_DELIMITER = re.compile(r"\\(?:left|right)\s*\.(?!\d)")
_SPACING = re.compile(r"\\[,;:!> ]|~|&nbsp;|\\[hv]space\*?\{[^{}]*\}|\\[hv]?phantom\s*(?:\{[^{}]*\}|\S)")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\!,|\\,|\\;|\\ |\{\s\})\s*(?=\d{3}(?!\d))")
_TEXT = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|sc|normal|up)?|mbox|hbox|emph)\s*\{([^{}]*)\}")
_ROMAN = re.compile(r"\\(?:mathrm|operatorname\*?|mathop)\s*\{([^{}]*)\}")
_FONT = re.compile(r"\\(?:math(?:bf|it|sf|tt|cal|frak|scr|normal)|boldsymbol|bm|underline|pmb)\s*\{([^{}]*)\}")
_LETTERS = re.compile(r"[A-Za-z]{2,}|[A-Za-z][).]|°")
_TEXT_CONNECTIVE = re.compile(r"\\text\{[\s,]*(and|or)[\s,]*\}", re.IGNORECASE)
_DEGREE = re.compile(r"\^\s*(?:\{\s*(?:\\circ|°)\s*\}|\\circ(?![A-Za-z])|°)|\\circ\s*$")
_WORD_OUTSIDE_TEXT = re.compile(r"(\\text\{[^{}]*\})|(?<![A-Za-z\\])(and|or)(?![A-Za-z])", re.IGNORECASE)
_CUT_SPACE = re.compile(r"(?<!\\)\\\s*$")
"""A control space that lost its space at the end of the text."""
_MATH_DOLLAR = re.compile(r"(?<!\\)\$+")
_OVER = re.compile(r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}|^([^{}]*)\\over(?![A-Za-z])([^{}]*)$")
_SPACED_SIGN = re.compile(
    r"\\math(?:bin|rel|punct|ord)\s*(?:\{\s*([^{}\w]|\\[A-Za-z]+)\s*\}|([:<>=+*/-]))|\{\s*(:)\s*\}"
)
_PRIME = re.compile(r"\^\s*(?:\{\s*('+)\s*\}|('+))")
_UNIT_LETTER = re.compile(r"(?<=[\d}])((?:\s|\\[,;:! ])*)\\(?:mathrm|text(?:rm)?)\s*\{\s*([mgshL])\s*\}")
_UNITS = {"m": "meter", "g": "gram", "s": "second", "h": "hour", "L": "liter"}
_UNIT_FRACTION = re.compile(
    r"\\[dt]?frac\s*\{\s*\\(?:text|mathrm)\s*\{\s*([A-Za-z]+)\s*\}\s*\}\s*"
    r"\{\s*\\(?:text|mathrm)\s*\{\s*([A-Za-z]+)\s*\}\s*\}"
)
_BOLD = re.compile(r"\*\*(\S(?:[^*]*\S)?)\*\*(?![\w({])")
_FUNCTIONS = frozenset({
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log", "ln",
    "exp", "max", "min", "gcd", "lcm", "det", "arcctg", "lg",
})  # fmt: skip


def normalise(text: str) -> str:
    """Rewrite an answer so that formatting does not matter any more.

    Dollars, sizes, spacing, fonts, synonyms of commands, unicode symbols, thousands separators and a final full stop
    are dealt with. The result keeps single spaces, which separate words.

    Args:
        text: one answer, LaTeX or plain, of any length. The time taken is linear in it.

    Returns:
        The rewritten text; empty when nothing but formatting was there.
    """
    text = _clean_characters(_CUT_SPACE.sub("", text))
    text = text.replace("\\\\", ROW) if r"\begin" in text else text.replace("\\\\", "\\")
    text = re.sub(ROW + r"\s*\[[^\[\]]{0,12}\]", ROW, text)
    text = text.replace(r"\(", " ").replace(r"\)", " ").replace(r"\[", " ").replace(r"\]", " ")
    text = _BOLD.sub(r"\1", _MATH_DOLLAR.sub(" ", text)).replace("`", " ")
    text = _NULL_DELIMITER.sub(" ", _SIZES.sub("", text))
    text = _SPACING.sub(" ", _THOUSANDS.sub("", text))
    text = _SPACED_SIGN.sub(lambda m: f" {m[1] or m[2] or m[3]} ", text.replace(r"\%", "%"))
    text = _OVER.sub(lambda m: rf"\frac{{{m[1] or m[3]}}}{{{m[2] or m[4]}}}", text) if r"\over" in text else text
    text = _UNIT_LETTER.sub(lambda m: rf"{m[1]}\text{{{_UNITS[m[2]]}}}", _UNIT_FRACTION.sub(r"\\text{\1/\2}", text))
    text = _TEXT.sub(_text, _ROMAN.sub(_roman, _FONT.sub(_font, text)))
    text = _PRIME.sub(lambda m: m[1] or m[2], _COMMAND.sub(_same_command, text))
    text = _DEGREE.sub("°", _TEXT_CONNECTIVE.sub(lambda m: f" \\{m[1].lower()} ", text))
    text = _WORD_OUTSIDE_TEXT.sub(lambda m: m[1] or f"\\{m[2].lower()} ", text)
    text = text.replace("<=", r"\le ").replace(">=", r"\ge ").replace("!=", r"\ne ").replace("+/-", r"\pm ")
    text = " ".join(text.split())
    return _strip_end(text)


def compact(text: str) -> str:
    """Drop every space of normalised text that does not hold two words, numbers or commands apart."""
    return re.sub(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])", "", text)


def _clean_characters(text: str) -> str:
    """Spell unicode symbols in LaTeX and drop control, direction and private characters."""
    text = re.sub(r"√\s*(\d+(?:\.\d+)?|[A-Za-z])", r"\\sqrt{\1}", text).replace("√", "sqrt")
    text = _SYMBOL.sub(lambda m: _SYMBOLS[m[0]], text)
    text = re.sub(f"[{''.join(_SUPERSCRIPTS)}]+", lambda m: "^{" + "".join(_SUPERSCRIPTS[c] for c in m[0]) + "}", text)
    text = re.sub(f"[{''.join(_SUBSCRIPTS)}]+", lambda m: "_{" + "".join(_SUBSCRIPTS[c] for c in m[0]) + "}", text)
    if text.isascii() and text.isprintable():
        return text
    text = "".join(_vulgar_fraction(c) if unicodedata.category(c) == "No" else c for c in text)
    text = unicodedata.normalize("NFKC", text) if len(text) < 10_000 else text
    return "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text)


def _vulgar_fraction(character: str) -> str:
    """A character such as that for seven eighths in LaTeX; others as they are."""
    above, slash, below = unicodedata.normalize("NFKC", character).partition("\u2044")
    return rf"\frac{{{above}}}{{{below}}}" if slash and above and below else character


def _text(match: re.Match[str]) -> str:
    """Keep words in one text command; what holds no word was only typeset upright."""
    content = match[1].strip()
    return rf"\text{{{content}}}" if _LETTERS.search(content) else f" {content} "


def _roman(match: re.Match[str]) -> str:
    name = match[1].strip()
    if name in _FUNCTIONS:
        return f"\\{name} "
    return rf"\text{{{name}}}" if len(name) > 1 and name.isalpha() else f" {name} "


def _font(match: re.Match[str]) -> str:
    content = match[1].strip()
    return rf"\text{{{content}}}" if len(content) > 1 and content.isalpha() else f" {content} "


def _same_command(match: re.Match[str]) -> str:
    name = _SAME_COMMAND.get(match[1], match[1])
    return f"\\{name} " if name.isalpha() and match[2] else f"\\{name}" if name.isalpha() else name


def _strip_end(text: str) -> str:
    """Take away sentence punctuation around an answer, but no bracket, factorial or decimal point of a number."""
    previous = None
    while previous != text:
        previous = text
        text = text.strip().strip('"').rstrip(",;:").lstrip(",;: ").strip()
        if text.endswith(".") and not text.endswith("..") and not text.lower().endswith(".m."):
            text = text[:-1]
        if text.startswith("{") and _closes_at_end(text):
            text = text[1:-1]
    return text


def _closes_at_end(text: str) -> bool:
    """Whether the group that opens the text is closed by its last character."""
    depth = 0
    for position, token in ((m.start(), m[0]) for m in re.finditer(r"\\.|[{}]", text)):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth == 0 and token == "}":
            return position == len(text) - 1
    return False
