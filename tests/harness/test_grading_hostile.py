"""Grading survives any text: it answers in time, raises nothing, runs nothing, and outlives its child process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arbitrage.harness.grading import Status, Verdict, grade
from arbitrage.harness.grading import grader as grader_module
from arbitrage.harness.grading.client import Client
from arbitrage.harness.rows import RowStatus
from arbitrage.harness.runner import Instruments, load_comparison, run_benchmark, run_comparison
from arbitrage.interfaces import Capability, Models, Strategy
from arbitrage.testing import ScriptedModel
from arbitrage.testing.scripted import ScriptedSession
from arbitrage.types import SEPARATOR, EndReason, Generation, Problem, Role, StepRecord

TIMEOUT_S = 2.0
ALLOWANCE_S = 8.0
"""Seconds beyond the limit for a new child, for its libraries, and for a busy machine."""
NUMBER, ROOT = "1234567", r"\sqrt{1234567}"
"""Answers that are equal to nothing hostile: one is decided by this process, the other one by the child."""

PYTHON = {
    "os.system": "__import__('os').system('touch CANARY')",
    "os.popen": "__import__('os').popen('touch CANARY').read()",
    "os.open": "__import__('os').open('CANARY', 64)",
    "os.mknod": "__import__('os').mkdir('CANARY')",
    "import statement": "import os; os.system('touch CANARY')",
    "import from": "from os import system as s\ns('touch CANARY')",
    "import alias": "import os as x, sys as y; x.system('touch CANARY')",
    "importlib": "__import__('importlib').import_module('os').system('touch CANARY')",
    "subprocess.run": "__import__('subprocess').run(['touch', 'CANARY'])",
    "subprocess with a shell": "__import__('subprocess').check_output('touch CANARY', shell=True)",
    "pathlib": "__import__('pathlib').Path('CANARY').touch()",
    "io.open": "__import__('io').open('CANARY', 'w')",
    "open": "open('CANARY', 'w')",
    "open and close": "open('CANARY','w').close()",
    "print into a file": "print(1, file=open('CANARY', 'w'))",
    "eval": "eval(\"open('CANARY', 'w')\")",
    "nested eval": "eval('eval(\"open(\\'CANARY\\', \\'w\\')\")')",
    "exec": "exec(\"open('CANARY', 'w')\")",
    "exec of lines": "exec('import os\\nos.system(\"touch CANARY\")')",
    "compile": "exec(compile(\"open('CANARY', 'w')\", '', 'exec'))",
    "builtins": "__builtins__['open']('CANARY', 'w')",
    "builtins by getattr": "getattr(__import__('builtins'), 'op' + 'en')('CANARY', 'w')",
    "getattr chain": "getattr(getattr(__import__('os'), 'path'), 'os').system('touch CANARY')",
    "globals": "globals()['__builtins__']['open']('CANARY', 'w')",
    "vars": "vars(__import__('os'))['system']('touch CANARY')",
    "subclasses": "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0]"
    ".__init__.__globals__['system']('touch CANARY')",
    "mro": "[c for c in ''.__class__.__mro__[1].__subclasses__() if c.__name__ == '_wrap_close'][0]"
    ".__init__.__globals__['popen']('touch CANARY').read()",
    "lambda": "(lambda: open('CANARY', 'w'))()",
    "lambda with a default": "(lambda f=open: f('CANARY', 'w'))()",
    "walrus": "(f := open)('CANARY', 'w')",
    "walrus in a list": "[y := __import__('os'), y.system('touch CANARY')]",
    "comprehension": "[o('CANARY', 'w') for o in [open]]",
    "set comprehension": "{open(n, 'w') for n in ('CANARY',)}",
    "dictionary": "{1: open('CANARY', 'w')}[1]",
    "conditional": "open('CANARY', 'w') if 1 else 7",
    "map": "list(map(open, ['CANARY'], 'w'))",
    "f-string": "f\"{open('CANARY', 'w')}\"",
    "f-string with a conversion": "f'{__import__(\"os\").system(\"touch CANARY\")!r:>10}'",
    "decorator": "@lambda f: open('CANARY', 'w')\ndef x(): pass",
    "class decorator": "@(lambda c: __import__('os').system('touch CANARY'))\nclass X: pass",
    "default argument": "def f(a=open('CANARY', 'w')): pass",
    "annotation": "x: open('CANARY', 'w') = 7",
    "class body": "class X:\n    open('CANARY', 'w')",
    "constructor": "type('X', (), {'__init__': lambda s: print(file=open('CANARY', 'w'))})()",
    "with": "with open('CANARY', 'w') as f: f.write('7')",
    "assertion": "assert open('CANARY', 'w')",
    "star": "print(*[open('CANARY', 'w')])",
    "semicolons": "7;open('CANARY', 'w');7",
    "addition": "7 + len(str(open('CANARY', 'w')))",
    "power": "2**len(str(open('CANARY', 'w')))",
    "escapes": "eval('\\x6f\\x70\\x65\\x6e')('CANARY', 'w')",
    "octal escapes": "eval('\\157\\160\\145\\156')('CANARY', 'w')",
    "unicode escapes": "eval('\\u006f\\u0070en')('CANARY', 'w')",
    "named escape": "eval('\\N{LATIN SMALL LETTER O}pen')('CANARY', 'w')",
    "character codes": "eval(''.join(map(chr, [111, 112, 101, 110])))('CANARY', 'w')",
    "base64": "eval(__import__('base64').b64decode('b3Blbg=='))('CANARY', 'w')",
    "reversed": "eval('nepo'[::-1])('CANARY', 'w')",
    "full width": "ｏｐｅｎ('CANARY', 'w')",
    "bold letters": "𝐞𝐯𝐚𝐥(\"open('CANARY', 'w')\")",
    "full width import": "__ｉｍｐｏｒｔ__('os').ｓｙｓｔｅｍ('touch CANARY')",
    "comment": "7 # seven\nopen('CANARY', 'w')",
    "continued line": "open\\\n('CANARY', 'w')",
    "ctypes": "__import__('ctypes').CDLL(None).creat(b'CANARY', 438)",
    "marshal": "m = __import__('marshal'); exec(m.loads(m.dumps(compile(\"open('CANARY','w')\", '', 'exec'))))",
    "pickle": "__import__('pickle').loads(b\"cos\\nsystem\\n(S'touch CANARY'\\ntR.\")",
    "code object": "__import__('code').InteractiveInterpreter().runsource(\"open('CANARY', 'w')\")",
    "timeit": "__import__('timeit').timeit(\"open('CANARY', 'w')\", number=1)",
    "copy": "__import__('shutil').copy('/dev/null', 'CANARY')",
}  # fmt: skip
"""Python that leaves a file behind when it is executed."""

SYMPY = {
    "sympify": "sympify(\"__import__('os').system('touch CANARY')\")",
    "sympify of open": "sympify(\"open('CANARY', 'w')\")",
    "parse_expr": "parse_expr(\"open('CANARY', 'w')\")",
    "parse_expr with globals": "parse_expr(\"o('CANARY', 'w')\", global_dict={'o': open})",
    "S": "S(\"open('CANARY', 'w')\")",
    "N": "N(\"open('CANARY', 'w')\")",
    "simplify": "simplify(\"open('CANARY', 'w')\")",
    "expand": "expand(\"open('CANARY', 'w')\")",
    "factor": "factor(\"open('CANARY', 'w')\")",
    "Eq": "Eq(S(\"open('CANARY', 'w')\"), 1)",
    "Add": "Add(1, S(\"open('CANARY', 'w')\"), evaluate=False)",
    "Poly": "Poly(\"open('CANARY', 'w')\")",
    "solve": "solve(\"open('CANARY', 'w')\")",
    "integrate": "integrate(\"open('CANARY', 'w')\", Symbol('x'))",
    "Matrix": "Matrix([[open('CANARY', 'w')]])",
    "Lambda": "Lambda(Symbol('x'), S(\"open('CANARY', 'w')\"))(1)",
    "lambdify": "lambdify([], \"open('CANARY', 'w')\")()",
    "Function": "Function('f')(open('CANARY', 'w'))",
    "method of a number": "S(7).subs(7, open('CANARY', 'w'))",
}
"""Python that does so where sympy's names are known."""

SHELL = {
    "substitution": "$(touch CANARY)",
    "backticks": "`touch CANARY`",
    "semicolon": "7; touch CANARY #",
    "pipe": "7 | touch CANARY",
    "and": "7 && touch CANARY",
    "redirection": "7 > CANARY",
    "newline": "7\ntouch CANARY",
}
"""Shell that does so after `true`."""

TEX = {
    "input": r"\input{CANARY}",
    "piped input": r"\input{|\"touch CANARY\"}",
    "piped input without braces": r"\input|'touch CANARY'",
    "include": r"\include{|touch CANARY}",
    "write18": r"\immediate\write18{touch CANARY}",
    "write18 in mathematics": r"7^{\immediate\write18{touch CANARY}}",
    "openout": r"\newwrite\f\immediate\openout\f=CANARY\immediate\write\f{7}",
    "openout by number": r"\immediate\openout7=CANARY ",
    "shell escape": r"\ShellEscape{touch CANARY}",
    "lua": r"\directlua{os.execute('touch CANARY')}",
    "lua with a file": r"\directlua{io.open('CANARY','w'):close()}",
    "python in TeX": r"\py{open('CANARY','w')}",
    "sage": r"\sage{open('CANARY','w')}",
    "new command": r"\newcommand{\x}{\immediate\write18{touch CANARY}}\x",
    "renewed command": r"\renewcommand{\frac}[2]{\immediate\write18{touch CANARY}}\frac12",
    "definition": r"\def\x{\immediate\write18{touch CANARY}}\x",
    "expanded definition": r"\edef\x{\write18{touch CANARY}}\x",
    "let": r"\let\frac\write\immediate\frac18{touch CANARY}",
    "category code": r"\catcode`\@=0 @immediate@write18{touch CANARY}",
    "category code of a letter": r"\catcode`\X=13\defX{\write18{touch CANARY}}X",
    "csname": r"\csname write\endcsname18{touch CANARY}",
    "expandafter": r"\expandafter\immediate\csname write\endcsname18{touch CANARY}",
    "hexadecimal": r"^^5cimmediate^^5cwrite18{touch CANARY}",
    "listing": r"\lstinputlisting{|touch CANARY}",
    "picture": r"\includegraphics{|touch CANARY}",
    "special": r"\special{psfile=`touch CANARY`}",
    "operator": r"\operatorname{exec}(open('CANARY','w'))",
    "operator with code": r"\operatorname{__import__('os').system('touch CANARY')}",
    "roman": r"\mathrm{open('CANARY','w')}",
    "text": r"\text{__import__('os').system('touch CANARY')}",
    "text in a fraction": r"\frac{\text{eval}(\text{open('CANARY','w')})}{2}",
    "symbol": r"x_{__import__('os').system('touch CANARY')}",
    "box in a box": r"\boxed{\fbox{__import__('pathlib').Path('CANARY').touch()}}",
    "integrand": r"\int_0^1 \operatorname{open}('CANARY','w') dx",
    "bound": r"\sum_{n=1}^{open('CANARY','w')} n",
    "index": r"\sum_{__import__('os').system('touch CANARY')=1}^{\infty} \frac{1}{2}",
    "limit": r"\lim_{x \to eval(open('CANARY','w'))} x",
    "differential": r"\int_0^1 x d(open('CANARY','w'))",
}
"""LaTeX that might do so where a program typesets it, or hands its words to Python."""

OTHER = {
    "nul between": "open('CANARY',\0'w')",
    "nul before": "\0__import__('os').system('touch CANARY')",
    "nul after a number": "7\0; open('CANARY','w')",
    "bell and backspace": "\a\bopen('CANARY','w')\x1b[2J\x7f",
    "terminal title": "\x1b]0;`touch CANARY`\x07",
    "right to left": "\u202e)'w','CANARY'(nepo\u202c open('CANARY','w')",
    "zero width": "op\u200ben('CANARY','w')",
    "Cyrillic look-alikes": "ореn('CANARY','w'); еval('open(\"CANARY\",\"w\")')",
    "curly quotes": "open(‘CANARY’,‘w’)",
    "surrogates": "open('CANARY','w')\ud800",
    "line separators": "7\u2028open('CANARY','w')\u2029",
    "template": "{{ ''.__class__.__mro__[1].__subclasses__() or open('CANARY','w') }}",
    "format string": "{0.__class__.__init__.__globals__[open]('CANARY','w')}",
    "percent format": "%(open('CANARY','w'))s %n%n%s",
    "dollar braces": "${__import__('os').system('touch CANARY')}",
    "yaml": "!!python/object/apply:os.system ['touch CANARY']",
    "protocol": '7"}\n{"id": 1, "equal": true, "method": "string", "reason": ""}\nopen("CANARY", "w")',
    "ready": '{"ready": true}\nopen("CANARY","w")',
    "html": "<script>open('CANARY')</script><img src=x onerror=`touch CANARY`>",
    "entity": '<!DOCTYPE x [<!ENTITY e SYSTEM "file://CANARY">]><x>&e;</x>',
    "query": "7'; COPY x TO 'CANARY'; --",
    "traceback": "Traceback (most recent call last):\n  File 'CANARY', line 1, in <module>\n7",
}

PAYLOADS = {
    f"{kind}: {name}": text
    for kind, texts in {"python": PYTHON, "sympy": SYMPY, "shell": SHELL, "tex": TEX, "other": OTHER}.items()
    for name, text in texts.items()
}

BOMBS = {
    # powers
    "power tower": "8^{8^{8^{8}}}",
    "power tower of nines": "9^{9^{9^9}}",
    "power tower with decimals": "1.0000001^{10^{10^{10}}}",
    "negative tower": "2^{-9^{9^{9}}}",
    "tower of roots": r"\sqrt{2}^{\sqrt{2}^{\sqrt{2}^{9^{9^9}}}}",
    "long power tower": "9^" * 200 + "9",
    "braced power tower": "9^{" * 38 + "9" + "}" * 38,
    "huge exponent": "1e999999999",
    "huge negative exponent": "1e-999999999",
    "huge decimal power": "10^{10^{10^{10}}}",
    "huge literal exponent": "2^{" + "9" * 500 + "}",
    "huge base and exponent": "9" * 900 + "^{" + "9" * 900 + "}",
    "fractional huge power": r"\left(\frac{99999999}{99999998}\right)^{99999999}",
    "imaginary tower": "i^{i^{i^{9^{9^{9}}}}}",
    "exponentials": r"\exp(\exp(\exp(\exp(\exp(9)))))",
    "symbolic power": "(x+1)^{1000000000}",
    "symbolic tower": "x^{x^{x^{x^{x^{x}}}}}",
    "powers of powers": "((((2^{99999})^{99999})^{99999})^{99999})",
    "many medium powers": "+".join(f"{n}^{{9999}}" for n in range(2, 180)),
    "product of sums": "(a+b+c+d+e+f+g)^{40}" * 40,
    # factorials, binomials
    "factorials": "((100!)!)!" + "!" * 50,
    "factorials without end": "9" + "!" * 1900,
    "nested factorials": "(" * 30 + "9" + "!)" * 30,
    "factorial of a huge number": "999999999!",
    "factorial of a huge literal": "9" * 1900 + "!",
    "factorial quotient": r"\frac{1000000!}{999999!}",
    "double factorial": "99999999!!",
    "factorial of a half": r"(10^{9}+\frac12)!",
    "binomial": r"\binom{10^{9}}{5\cdot 10^{8}}",
    "nested binomials": r"\binom{" * 9 + "99" + "}{9}" * 9,
    "binomial of symbols": r"\binom{n^{99999}}{k^{99999}}",
    "greatest common divisor": r"\gcd(10^{99999}, 7^{99999})",
    # digits
    "giant digits": "9" * 1999,
    "giant decimals": "0." + "3" * 1990,
    "giant period": r"0.\overline{" + "123456789" * 200 + "}",
    "giant fraction": r"\frac{" + "9" * 900 + "}{" + "7" * 900 + "}",
    "giant base": "1" * 1000 + "_{" + "9" * 900 + "}",
    "base of a base": "1_{2_{3_{4_{5_{6}}}}}",
    "giant percentage": "9" * 1990 + r"\%",
    "giant clock": "9" * 900 + ":" + "9" * 900,
    "giant units": "9" * 1000 + r"\text{ cm}^{" + "9" * 900 + "}",
    "giant root degree": r"\sqrt[" + "9" * 900 + "]{2}",
    # sums, products, integrals
    "long sum": r"\sum_{k=1}^{1000000000} \frac{1}{k}",
    "longer sum": r"\sum_{k=1}^{10^{100}} \frac{1}{k^2}",
    "long product": r"\prod_{k=1}^{10^{9}} k",
    "nested sums": r"\sum_{a=1}^{999}\sum_{b=1}^{999}\sum_{c=1}^{999} \sqrt{a+b+c}",
    "nested products": r"\prod_{a=1}^{99}\prod_{b=1}^{99}\prod_{c=1}^{99} (a+b+c)",
    "sum of factorials": r"\sum_{k=1}^{5000} k!",
    "sum of powers": r"\sum_{k=1}^{9999} k^{k^{k}}",
    "sum with a symbol": r"\sum_{k=1}^{9999} x^k",
    "sum from below": r"\sum_{k=-10^{12}}^{10^{12}} k",
    "sum in a bound": r"\sum_{a=1}^{\sum_{b=1}^{\sum_{c=1}^{99} c} b} a",
    "endless sum of a tower": r"\sum_{n=1}^{\infty} \frac{1}{n^{n^{n^n}}}",
    "integral with a huge bound": r"\int_0^{10^{10^{10}}} x^{x} dx",
    "integrals of a tower": r"\int_0^1\int_0^1\int_0^1 x^{y^{z^{x^{y^z}}}} dxdydz",
    "integral of a huge power": r"\int_0^1 (1+x)^{99999} dx",
    "limit of a tower": r"\lim_{x\to\infty} x^{-x^{x^{x^x}}}",
    "derivative of a tower": r"\frac{d}{dx} x^{x^{x^{x^{x^{x^{x^{x^x}}}}}}}",
    # trigonometry
    "huge trigonometry": r"\sin(10^{100000})",
    "trigonometric tower": r"\sin(" * 38 + "9^{9}" + ")" * 38,
    "tangents": r"\tan(" * 30 + r"\frac{\pi}{2}" + ")" * 30,
    "powers of sines": r"\sin^{99999999} x \cos^{99999999} y",
    "sine of a factorial": r"\sin(100000!)",
    "logarithms": r"\log_{" * 30 + "2" + "}{9}" * 30,
    "logarithm of a tower": r"\log(9^{9^{9^{9}}})",
    "hyperbolic": r"\sinh(\cosh(\sinh(\cosh(\sinh(9)))))",
    # nesting
    "deep braces": "{" * 500 + "1" + "}" * 500,
    "deepest braces": "{" * 999 + "1" + "}" * 999,
    "deep parentheses": "(" * 900 + "1" + ")" * 900,
    "deep mixed brackets": "([{" * 19 + "1" + "}])" * 19,
    "parentheses at the limit": "(" * 59 + "1" + ")" * 59,
    "deep sets": r"\{" * 59 + "1" + r"\}" * 59,
    "deep tuples": "(1," * 58 + "1" + ")" * 58,
    "deep fractions": r"\frac{1}{" * 90 + "2" + "}" * 90,
    "fractions at the limit": r"\frac{1}{1+" * 38 + "x" + "}" * 38,
    "wide fractions": r"\frac{x+" * 38 + "x" + "}{x}" * 38,
    "deep roots": r"\sqrt{" * 200 + "2" + "}" * 200,
    "roots at the limit": r"\sqrt{2+" * 38 + "2" + "}" * 38,
    "roots of unlike degree": "".join(rf"\sqrt[{n}]{{{n}+" for n in range(2, 38)) + "1" + "}" * 36,
    "deep subscripts": "x_{" * 58 + "1" + "}" * 58,
    "deep floors": r"\lfloor " * 200 + "1.5" + r"\rfloor " * 200,
    "bars": "|" * 900,
    "bars around letters": "|a" * 600,
    "openers": "(" * 1999,
    "signs": "-" * 1900 + "1",
    # lists
    "commas": ",".join("1" * 900),
    "list of roots": ",".join(rf"\sqrt{{{n}}}" for n in range(150)),
    "set of nearly equal": r"\{" + ",".join(["x+1", "1+x"] * 99) + r"\}",
    "nested lists": ";".join(",".join("1" * 30) for _ in range(30)),
    "unions": r"(0,1)\cup" * 180 + "(0,1)",
    "many unions": r"\cup".join(f"({n},{n}.5)" for n in range(150)),
    "differences": r"\mathbb{R}\setminus\{" + ",".join(map(str, range(400))) + r"\}",
    "nested unions": r"((0,1)\cup" * 50 + "(2,3)" + ")" * 50,
    "inequalities": r" \text{ or } ".join(f"{n}<x<{n}.5" for n in range(90)),
    "chain of inequalities": "<".join("abcdefgh" * 90),
    "chain of equations": "=".join(["x+1"] * 400) + "=y",
    "system": ",".join(f"x_{{{n}}}=x_{{{n + 1}}}" for n in range(140)),
    "family": "k\\pi+" * 300 + "1",
    "families": ",".join(rf"\frac{{\pi}}{{{n}}}+{n}k\pi" for n in range(1, 99)),
    "plus minus": r"\pm 1" * 300,
    "three plus minus": r"\pm1\pm2\pm3",
    "list of plus minus": ",".join([r"\pm1\pm2\pm3"] * 120),
    "tuple of plus minus": "(" + ",".join([r"\pm 1"] * 300) + ")",
    "nested plus minus": r"\pm\sqrt{1\pm" * 3 + "1" + "}" * 3,
    "plus minus in a set": r"\{" + ",".join([r"1\pm\sqrt{2}"] * 120) + r"\}",
    "minus plus": r"\pm 1\mp 2" * 150,
    "set builder": r"\{x|" * 40 + "x>1" + r"\}" * 40,
    "ratio": ":".join("7" * 900),
    # matrices
    "wide matrix": r"\begin{pmatrix}" + "1&" * 800 + r"1\end{pmatrix}",
    "tall matrix": r"\begin{pmatrix}" + r"1\\" * 600 + r"1\end{pmatrix}",
    "matrix power": r"\begin{pmatrix}" + "1&" * 800 + r"1\end{pmatrix}^{1000000}",
    "scaled matrix": r"9^{9^{9}}\begin{pmatrix}" + "9!!&" * 300 + r"1\end{pmatrix}",
    "matrix of towers": r"\begin{pmatrix}" + r"9^{9^{9^9}}&" * 100 + r"1\end{pmatrix}",
    "nested matrices": r"\begin{pmatrix}" * 40 + "1" + r"\end{pmatrix}" * 40,
    "unclosed matrices": r"\begin{pmatrix}" * 130,
    "closed matrices": r"\begin{array}{c}" + r"\end{array}" * 150,
    "determinant": r"\begin{vmatrix}" + "x&" * 400 + r"x\end{vmatrix}",
    # what regular expressions meet
    "digits and a letter": "1" * 990 + "x",
    "decimals and a letter": "0." + "1" * 980 + "x",
    "repeated digits and dots": "0." + "12" * 480 + "..",
    "groups of digits": "123," * 240 + "12",
    "spaced digits": "123 " * 480 + "1",
    "words": "apple " * 320,
    "number and words": "7 " + "ab " * 600,
    "slashes": "1/" * 990 + "1",
    "percents": "7" + "%" * 1900,
    "degrees": "7" + r"^\circ" * 300,
    "primes": "f" + "'" * 1900 + "(x)",
    "empty texts": r"\text{}" * 280,
    "open texts": r"\text{" * 330 + "}" * 330,
    "texts with units": r"7\text{ cm}" * 180,
    "per": "7 km" + " per km" * 250,
    "slashed units": "7 km" + "/h" * 900,
    "domain": "k, " + r"k \in " * 270 + "Z",
    "prose domain": "x where k " + "for all " * 230,
    "remarks": "x " + "(where " * 50 + "1" + ")" * 50,
    "decimal points": "1." * 990,
    "semicolons and points": "1" + ";." * 990,
    "stars": "*" * 1990 + "7",
    "roots without arguments": "√" * 1990,
    "underscores": "_" * 1990,
    "carets": "x" + "^" * 1990,
    "relation signs": r"=<>\le\ge\in\cup" * 40,
    "equation of nothing": "=" * 1990,
    "ands": "1 and " * 330,
    "or": "or " * 660,
    "number words": "twenty-" * 280 + "one",
    "million words": "one million " * 160,
}  # fmt: skip
"""Short enough to be compared, and out of proportion in time or memory when worked out carelessly."""


def runs(*units: str, length: int) -> dict[str, str]:
    """Long runs of the same piece, alone and inside a sentence."""
    texts = {f"run of {unit!r}": unit * (length // len(unit)) for unit in units}
    return texts | {f"sentence with {unit!r}": "So we get " + unit * (19_000 // len(unit)) + "x." for unit in units}


FLOODS = {
    **runs(
        " ", "\n", "\t", "\\", "$", "$ ", "$$ ", "{", "}", "{}", ",", "7", "7,", ".", ". ", "7. ", "!", "*", "** ",
        "#", "`", "_", "^", "-", "(", "|", "answer ", "final ", "the answer ", "the answer is ", "the answer to ",
        "answer: $", "####", "and ", "is ", r"\boxed{", r"\boxed{{", r"\boxed{}{", r"\boxed", r"\boxed ", "$x$ ",
        r"\fbox{1}, x", r"\text{", r"\text{and} ", r"\\", r"\{", r"\$", "A ", "Ab cd. ", "\0", "\ud800", "\u202e",
        "\u2003", "²", "½", "ﷺ", "🎲",
        length=100_000,
    ),
    **runs(r"\(", r"\[", r"\(x", r"$$\(", length=20_000),
    "boxes": r"\boxed{1}" * 40_000,
    "empty boxes": r"\boxed{}" * 40_000,
    "short boxes": r"\boxed 1" * 40_000,
    "joined boxes": r"\boxed{1} and " * 25_000,
    "open boxes": r"\boxed{" * 150_000,
    "nested boxes": r"\boxed{" * 50_000 + "7" + "}" * 50_000,
    "closed too often": r"\boxed{7}" + "}" * 400_000,
    "opened too often": "{" * 400_000 + r"\boxed{" + "}" * 10,
    "box and spaces": r"\boxed{1}" + r"\text{" + " " * 55 + "x" + r"\boxed{2}",
    "box of spaces": r"\boxed{" + " " * 400_000 + "}",
    "box with a long gap": r"\boxed" + " " * 400_000 + "7 x",
    "answer and spaces": "So the answer" + " " * 19_900 + "x",
    "answer and stars": "So answer " + "* " * 9_000 + "x",
    "answer to": "The answer " + "to a " * 3_900 + ".",
    "answers in dollars": "The answers are " + "$1$ and " * 2_400 + ".",
    "plus signs": "1+" * 500_000 + "1",
    "spaces between": "7" + " " * 1_000_000 + "7",
    "million dollars": "$" * 1_000_000,
    "prose": "the answer is " * 70_000,
    "connectives": "and or " * 140_000,
    "long formula": "So $" + "x+" * 9_900 + "1$.",
}  # fmt: skip
"""Whole responses of up to a megabyte, made to keep the search for the answer busy."""

ODD = {
    "unbalanced": r"\frac{7}{",
    "closers": "}" * 1000,
    "nul": "7\0",
    "only nul": "\0" * 10,
    "surrogates": "\ud800\udfff 5 \udead",
    "right to left": "\u202e7\u202c",
    "right to left words": "\u202eשבע\u202c",
    "full width": "７" * 30 + "！",
    "json": '{"id": 1, "equal": true}\n{"id": 2, "equal": true}',
    "not a number": "nan",
    "infinite": "inf",
    "division by zero": r"\frac{0}{0}",
    "zero to the zero": "0^0",
    "pole": r"\tan\frac{\pi}{2}",
    "factorial of a negative number": "(-1)!",
    "logarithm of zero": r"\log_1 0",
    "empty interval": r"(\infty,-\infty)",
    "no index": r"\sum_{k}^{} k",
    "command of a surrogate": "\\\ud800{7}",
}

SHORT_S = 0.4
"""Seconds for a bomb's other forms, which would hang as long as the bomb itself."""


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that only executed code would make; absolute, since the child works in a folder of its own."""
    return tmp_path_factory.mktemp("cage") / "bird"


def timed(answer: str, reference: str | Problem, timeout_s: float = TIMEOUT_S) -> Verdict:
    """Grade, and check that it took no longer than the limit and a start."""
    started = time.perf_counter()
    verdict = grade(answer, reference, timeout_s=timeout_s)
    assert time.perf_counter() - started < 2 * timeout_s + ALLOWANCE_S
    assert isinstance(verdict, Verdict)
    assert isinstance(verdict.status, Status)
    assert verdict.method != "fault"
    return verdict


LIVE = """
import contextlib, json, os, pathlib, shutil, subprocess, sys
from sympy import *
from sympy.parsing.sympy_parser import parse_expr
canary = pathlib.Path(sys.argv[1])
names = {name: value for name, value in globals().items() if not name.startswith("__")}
dead = []
for kind, name, text in json.load(sys.stdin):
    with contextlib.suppress(Exception):
        if kind == "shell":
            subprocess.run(["sh", "-c", "true " + text], stderr=subprocess.DEVNULL)
        else:
            exec(text, {"__builtins__": vars(__import__("builtins"))} | (names if kind == "sympy" else {}))
    if not canary.exists():
        dead.append(name)
    elif canary.is_dir():
        canary.rmdir()
    else:
        canary.unlink()
print(dead)
"""


@pytest.mark.skipif(os.name != "posix", reason="the payloads call a shell")
def test_the_payloads_of_these_tests_do_harm_when_they_are_run(canary: Path) -> None:
    """A payload that would leave no file behind could prove nothing below."""
    texts = [
        (kind, name, text.replace("CANARY", str(canary)))
        for kind, texts in (("python", PYTHON), ("sympy", SYMPY), ("shell", SHELL))
        for name, text in texts.items()
    ]
    command = [sys.executable, "-W", "ignore", "-c", LIVE, str(canary)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert not canary.exists()
    assert len(PAYLOADS) >= 60
    assert len(BOMBS) >= 40


@pytest.mark.parametrize("name", PAYLOADS)
def test_code_is_never_run(name: str, canary: Path) -> None:
    """Code is text: as an answer, boxed, as a formula, inside of calculus, which sympy decides, and as a reference."""
    code = PAYLOADS[name].replace("CANARY", str(canary))
    calculus = (
        rf"\int_0^1 x dx + {code}",
        rf"\int_0^1 {code} dx",
        rf"\int_0^1 \text{{{code}}} dx",
        rf"\sum_{{n=1}}^{{\infty}} \operatorname{{{code}}} \frac{{1}}{{n^2}}",
        rf"\lim_{{x \to 0}} x_{{{code}}}",
    )
    for answer in (code, rf"\boxed{{{code}}}", f"So it is ${code}$.", f"The answer is {code}", *calculus):
        assert timed(answer, ROOT).status is not Status.CORRECT, answer
    for reference in (code, *calculus):
        assert timed(ROOT, reference).status is not Status.CORRECT, reference
        assert timed(NUMBER, reference).status is not Status.CORRECT, reference
    timed(code, code)
    timed(f"{code}+1", f"1+{code}")
    assert not canary.exists()
    assert list(canary.parent.iterdir()) == []


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_gets_a_verdict_in_time(name: str) -> None:
    """Whatever it would take to work it out, the verdict comes, and says that nothing was equal."""
    bomb = BOMBS[name]
    verdict = timed(bomb, ROOT)
    assert verdict.status is not Status.CORRECT
    assert timed(ROOT, bomb, SHORT_S).status is not Status.CORRECT
    if verdict.status is not Status.TIMEOUT:
        assert timed(bomb + "+1", bomb + "+2", SHORT_S).status is not Status.CORRECT


@pytest.mark.parametrize("name", ODD)
def test_odd_text_is_not_correct(name: str) -> None:
    """Text that means nothing equals nothing, whichever side it is on."""
    assert timed(ODD[name], NUMBER).status is not Status.CORRECT
    assert timed(NUMBER, ODD[name]).status is not Status.CORRECT
    assert timed(ODD[name], ROOT).status is not Status.CORRECT
    assert timed(rf"\boxed{{{ODD[name]}}}", ROOT).status is not Status.CORRECT
    timed(ODD[name] + "+1", ODD[name] + "+2")


def cpu_seconds(function: Callable[[], object]) -> float:
    """Processor time of this process alone, so that a busy machine does not count."""
    started = time.process_time()
    function()
    return time.process_time() - started


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_of_text_is_searched_in_time(name: str) -> None:
    """This process has no limit that stops it, so finding the answer must be quick on any text by itself."""
    flood = FLOODS[name]
    grade("x+1", "1+x")  # a child is there
    assert cpu_seconds(lambda: timed(flood, ROOT)) < 3
    assert timed(flood, NUMBER).status is not Status.CORRECT
    assert cpu_seconds(lambda: timed(NUMBER, flood[:30_000])) < 3


@pytest.mark.parametrize(
    "text",
    [r"\boxed{1}" * 80_000, "1" + ".;" * 100_000, "1" + ", " * 200_000, "{" * 2_000 + "1" + "}" * 2_000],
    ids=["boxes", "points", "commas", "braces"],
)
@pytest.mark.parametrize("side", ["answer", "reference"])
def test_time_grows_in_proportion_to_the_text(text: str, side: str) -> None:
    """Ten times the text takes about ten times as long and not a hundred times, as an answer and as a reference."""

    def seconds(part: str) -> float:
        answer, reference = (part, NUMBER) if side == "answer" else (NUMBER, part)
        return cpu_seconds(lambda: grade(answer, reference, timeout_s=TIMEOUT_S))

    middle = len(text) // 2
    assert seconds(text) < 40 * max(seconds(text[middle - len(text) // 20 : middle + len(text) // 20]), 0.02)


def inside(text: str, problem: Problem) -> Verdict:
    """The grader of the runs below: the package's own, with a limit that keeps bombs short."""
    return timed(text, problem, SHORT_S)


class Reciting(ScriptedModel):
    """A model that answers "case 7" with the seventh text, one character at a time."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(lambda done: "" if done else self._text, context_length=1 << 16)
        self._texts, self._text = texts, ""

    def open(self, prompt: Sequence[int]) -> ScriptedSession:
        self._text = self._texts[int(re.findall(r"case (\d+)", self.codec.decode(prompt))[-1])]
        return super().open(prompt)


class Copying(Strategy):
    """A strategy that needs no model and answers "case 7" with the seventh text, whatever its characters."""

    name = "copying"
    requires: frozenset[Role | Capability] = frozenset()

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def solve(self, problem: Problem, models: Models, rng: np.random.Generator) -> Generation:
        text = self._texts[int(problem.problem.split()[-1])]
        return Generation(text, (1,), (StepRecord(0, text, "target", 1),), EndReason.EOS)


def cases(texts: Sequence[str]) -> list[Problem]:
    """One problem for each text, every other one with several references and a unit."""
    return [Problem(f"p{k}", f"Solve case {k}", (ROOT,) if k % 2 else (NUMBER,)) for k in range(len(texts))]


@pytest.mark.slow
def test_a_model_that_writes_hostile_text_cannot_stop_a_run(canary: Path, tmp_path: Path) -> None:
    """Token by token through the whole harness: every text is graded, kept, and read back; none is run or correct."""
    everything = [text.replace("CANARY", str(canary)) for text in (*PAYLOADS.values(), *BOMBS.values())]
    texts = [rf"So it is \boxed{{{t}}}" for t in everything if t.isascii() and "\n\n" not in t and len(t) < 300]
    assert len(texts) > 180
    result = run_benchmark(
        "target-only",
        Models(target=Reciting(texts)),
        dataset=cases(texts),
        warmup=0,
        max_tokens=1000,
        out=tmp_path / "run",
        progress=False,
        instruments=Instruments(grade=inside),
    )
    assert [row.text.removesuffix(SEPARATOR) for row in result.rows] == texts
    assert {row.status for row in result.rows} <= set(RowStatus) - {RowStatus.ERROR, RowStatus.CORRECT}
    (again,) = load_comparison(tmp_path / "run").values()
    assert again.rows == result.rows
    assert not canary.exists()


@pytest.mark.slow
def test_a_strategy_that_returns_hostile_text_cannot_stop_a_run(canary: Path, tmp_path: Path) -> None:
    """What no scripted model can write comes from a strategy: long texts, floods, and characters beyond ASCII."""
    everything = (*PAYLOADS.values(), *BOMBS.values(), *ODD.values())
    texts = [t for t in everything if not t.isascii() or "\n\n" in t or len(t) >= 300] + list(FLOODS.values())
    texts = [text.replace("CANARY", str(canary)) for text in texts]
    found = run_comparison(
        Copying(texts),
        Models(),
        dataset=cases(texts),
        warmup=0,
        out=tmp_path / "run",
        progress=False,
        baseline=False,
        instruments=Instruments(grade=inside),
    )
    rows = found["copying"].rows
    assert len(rows) == len(texts)
    assert {row.status for row in rows} <= set(RowStatus) - {RowStatus.ERROR, RowStatus.CORRECT}
    assert load_comparison(tmp_path / "run")["copying"].rows == rows
    assert not canary.exists()


FUZZ = int(os.environ.get("ARBITRAGE_FUZZ") or 400)
"""Random strings for the next tests together; `ARBITRAGE_FUZZ=100000` takes about a quarter of an hour."""
slowly = pytest.mark.timeout(300 + FUZZ // 5)


def fuzz(strings: int) -> settings:
    """Settings of a test that gets a quarter of all random strings, and uses `strings` of them at a time."""
    unlucky = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=max(1, FUZZ // 4 // strings), deadline=None, suppress_health_check=unlucky)


FRAGMENTS = st.sampled_from(
    [
        r"\frac", r"\boxed{", "{", "}", "(", ")", "[", "]", "^", "_", "!", "|", ",", "=", "<", r"\le", r"\pm",
        r"\cup", r"\in", "x", "n", "e", "i", "7", "12", "0.5", r"\pi", r"\sqrt", r"\sum_{k=1}^{9}", r"\text{",
        r"\{", r"\}", "%", r"\$", "°", " ", "-", "+", r"\begin{pmatrix}", r"\end{pmatrix}", "&", "\\\\", r"\infty",
        "and", ":", "'", r"\log", r"\sin", "10^", ";", "/",
    ]
)  # fmt: skip
INFIX = st.sampled_from(["+", "-", " ", r"\cdot ", "/", "=", "<", r"\le ", ",", r"\pm ", r"\cup "])
AROUND = st.sampled_from(
    [
        "({})", "[{}]", "({}]", r"\{{{}\}}", "|{}|", r"\lfloor {} \rfloor", r"\sqrt{{{}}}", r"\sin ({})", r"\ln {}",
        "({})!", "{}%", r"{}^\circ", r"{}\text{{ cm}}", r"\tan {}", "-{}",
    ]
)  # fmt: skip
PIECES = st.recursive(
    st.sampled_from(["x", "y", "n", "k", "e", "i", "0", "1", "2", "7", "13", "0.25", r"\pi", r"\infty", "a_1", "100"]),
    lambda piece: st.one_of(
        st.tuples(piece, INFIX, piece).map("".join),
        st.tuples(piece, piece).map(lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}"),
        st.tuples(piece, piece).map(lambda p: rf"{{{p[0]}}}^{{{p[1]}}}"),
        st.tuples(piece, piece).map(lambda p: rf"\binom{{{p[0]}}}{{{p[1]}}}"),
        st.tuples(piece, piece).map(lambda p: rf"\log_{{{p[0]}}} ({p[1]})"),
        piece.map(lambda p: rf"\sum_{{k=1}}^{{9}} {p}"),
        st.tuples(AROUND, piece).map(lambda p: p[0].format(p[1])),
    ),
    max_leaves=6,
)  # fmt: skip
SENTENCES = st.lists(
    st.one_of(
        FRAGMENTS,
        st.sampled_from(
            [
                "the answer is ", "The final answer: ", "#### ", "**", "$", "$$", r"\(", r"\)", r"\[", r"\]", "\n",
                "\n\n", ". ", " and ", " or ", "So ", "is ", r"\fbox{", r"\boxed ", "√", "²", "½", "≤", "∞", "\ud800",
                "\0", "７", "__import__('os')", "lambda x: x", r"\input{x}", r"\int_0^1", "dx", r"\lim_{x\to 0}",
            ]
        ),
        st.text(max_size=4),
    ),
    max_size=16,
).map("".join)  # fmt: skip


@slowly
@fuzz(2)
@given(st.lists(FRAGMENTS, max_size=14).map("".join), st.lists(FRAGMENTS, max_size=14).map("".join))
def test_any_arrangement_of_latex_gets_a_verdict(answer: str, reference: str) -> None:
    """Whatever the two strings are, the call returns a verdict and blames no fault on the grader itself."""
    timed(answer, reference)


@slowly
@fuzz(2)
@given(PIECES, PIECES)
def test_any_two_expressions_get_a_verdict(answer: str, reference: str) -> None:
    """So it is with well-formed mathematics, whose values may be undefined, infinite or out of proportion."""
    timed(answer, reference, SHORT_S)


@slowly
@fuzz(1)
@given(SENTENCES)
def test_any_response_gets_a_verdict(text: str) -> None:
    """So it is with whole responses; a response that does not name the answer cannot be correct."""
    assert not timed(text, "987654321").correct


@slowly
@fuzz(1)
@given(st.text(max_size=60))
def test_any_text_equals_itself_or_is_not_an_answer(text: str) -> None:
    """A boxed text graded against itself is correct, unless it is blank or cannot be a reference or an answer."""
    verdict = timed(rf"\boxed{{{text}}}", text)
    braces = {"{", "}"} & set(text)
    assert verdict.status in (Status.CORRECT, Status.UNPARSED, Status.UNSCORED) or braces


def child_pid(client: Client) -> int:
    """Process id of the running child."""
    assert grade("x+1", "1+x").correct
    pid = client.pid
    assert pid is not None
    return pid


def test_a_killed_child_is_replaced(client: Client) -> None:
    """When the child dies between two questions, the second one is answered by a new child."""
    pid = child_pid(client)
    os.kill(pid, signal.SIGKILL)
    assert grade("x+2", "2+x").correct
    assert client.pid not in (None, pid)


def test_a_comparison_that_is_too_slow_is_a_timeout_and_the_next_one_works(client: Client) -> None:
    """The child is killed at its limit; the verdict says so and the grader goes on."""
    pid = child_pid(client)
    verdict = grade(BOMBS["nested sums"], r"\sqrt{2}", timeout_s=0.3)
    assert verdict.status is Status.TIMEOUT
    assert grade("x+2", "2+x").correct
    assert client.pid not in (None, pid)


def test_a_child_without_memory_costs_a_verdict_and_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory limit too small to even start in ends in a verdict, and no process stays behind."""
    starved = Client(memory_bytes=1 << 20)
    monkeypatch.setattr(grader_module, "SHARED", starved)
    assert grade("x+1", "1+x").status is Status.UNSCORED
    assert starved.pid is None


def test_threads_share_one_child_without_mixing_answers(client: Client) -> None:
    """Questions from several threads at once get their own answers, and the main thread is not needed."""
    wrong: list[tuple[int, int]] = []

    def ask(thread: int) -> None:
        for k in range(25):
            right = grade(f"x+{k}", f"{k}+x").correct
            other = grade(f"x+{k}", f"{k + thread}+x").correct
            if not right or other:
                wrong.append((thread, k))

    threads = [threading.Thread(target=ask, args=(n,)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


SCRIPT = """
from arbitrage.harness.grading import grade
from arbitrage.harness.grading.client import SHARED
assert grade("x+1", "1+x").correct
print(SHARED.pid)
"""


def test_a_script_on_standard_input_can_grade_and_leaves_no_child_behind() -> None:
    """No `__main__` guard is needed, and the child ends with its parent."""
    done = subprocess.run([sys.executable, "-"], input=SCRIPT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_forked_process_gets_a_child_of_its_own() -> None:
    """After a fork both processes grade, and neither reads the other's answers."""
    fork = SCRIPT + (
        "import os\nmine = SHARED.pid\nforked = os.fork()\n"
        "assert grade('x+3', '3+x').correct and not grade('x+3', '4+x').correct\n"
        "assert (SHARED.pid == mine) == bool(forked)\n"
        "if forked: assert os.waitpid(forked, 0)[1] == 0\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", fork]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
