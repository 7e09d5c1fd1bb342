"""Everyday mistakes and surroundings: one line that says what to do, the right exit code, never a traceback."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from arbitrage.cli import main
from arbitrage.registry import Registry
from tests.cli.conftest import Run
from tests.scripted_backend import Scripted

RUN = '{"schema": 1, "identity": {}}'


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with things that are not what they should be."""
    for name, content in {
        "file": b"x",
        "cut.jsonl": b'{"problem": "x"\n',
        "empty.jsonl": b"",
        "other.jsonl": b'{"question": 1}\n',
        "latin.jsonl": b'{"problem": "\xff", "answer": "2"}\n',
        "good.jsonl": b'{"problem": "1 + 1?", "answer": "2"}\n',
        "no.gguf": b"nonsense",
    }.items():
        (tmp_path / name).write_bytes(content)
    for name, manifest in {"folder": None, "damaged": "{", "list": "[]", "bare": RUN}.items():
        (tmp_path / name).mkdir()
        if manifest is not None:
            (tmp_path / name / "manifest.json").write_text(manifest)
    (tmp_path / "strange" / "manifest.json").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    return tmp_path


BENCH = "bench --backend scripted --strategy target-only --dataset good.jsonl"
SOLVE = "solve 1+1 --backend scripted"


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "--nonsense",
        "ls strategy",
        "ls strategies backends",
        "ls --yaml",
        "solve",
        f"{SOLVE} --strategy rsd:treshold=1",
        f"{SOLVE} --strategy rsd:threshold=high",
        f"{SOLVE} --strategy token-sd:gamma=0",
        f"{SOLVE} --strategy random-route:rate=2",
        f"{SOLVE} --backend vllm",
        f"{SOLVE} --draft nobody:model",
        f"{SOLVE} --draft scripted:",
        f"{SOLVE} --target bundled:taget",
        f"{SOLVE} --target bundled:target@q99",
        f"{SOLVE} --target bundled:target@tpu",
        f"{SOLVE} --dtype int8",
        f"{SOLVE} --threads 0",
        f"{SOLVE} --threads two",
        f"{SOLVE} --max-tokens 0",
        f"{SOLVE} --max-steps -1",
        f"{SOLVE} --temperature -1",
        f"{SOLVE} --temperature nan",
        f"{SOLVE} --top-p 2",
        f"{SOLVE} --top-k -1",
        f"{SOLVE} --seed -1",
        f"{BENCH} --limit 0",
        f"{BENCH} --limit -3",
        f"{BENCH} --repeats 0",
        f"{BENCH} --warmup -1",
        f"{BENCH} --strategy ,",
        f"{BENCH} --strategy rsd,rsd",
        f"{BENCH} --dataset nobody",
        f"{BENCH} --dataset absent.jsonl",
        f"{BENCH} --dataset cut.jsonl",
        f"{BENCH} --dataset empty.jsonl",
        f"{BENCH} --dataset other.jsonl",
        f"{BENCH} --dataset latin.jsonl",
        f"{BENCH} --dataset ./folder",
        f"{BENCH} --dataset math500",
        f"{BENCH} --dataset math500 --data folder",
        f"{BENCH} --dataset math500 --data absent",
        f"{BENCH} --dataset math500 --data file",
        f"{BENCH} --out file",
        f"{BENCH} --out file/run",
        f"{BENCH} --out damaged",
        f"{BENCH} --out damaged --resume",
        f"{BENCH} --out strange",
        f"{BENCH} --resume",
        "resume",
        *(
            f"{command} {folder}"
            for command in ("resume", "report", "compare", "grade")
            for folder in ("absent", "file", "folder", "damaged", "list", "bare", "strange")
        ),
        "compare folder --fail-if speed>1",
        "grade",
        "grade folder --answer 1",
        "grade --answer 1",
        "doctor extra",
        "doctor --dataset cut.jsonl",
        "doctor --dataset latin.jsonl",
        "doctor --backend nobody",
        "models nonsense",
        "models quantize no.gguf",
        "models quantize no.gguf --to Q4_0 --gptq 4",
    ],
)
def test_a_mistake_has_exit_code_2_and_an_answer(line: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Usage errors come in typer's frame, all others as one line; nothing is printed as if it were a result."""
    before = sorted(place.rglob("*"))
    assert main(line.split()) == 2
    printed = capsys.readouterr()
    assert not printed.out
    assert "Traceback" not in printed.err
    answer = printed.err.strip("\n")  # an unused progress bar leaves an empty line
    if not answer.startswith("Usage: "):
        assert answer.startswith("error: ")
        assert "\n" not in answer
        assert len(answer) > len("error: ") + 10
    assert sorted(place.rglob("*")) == before


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("words", [["ls"], ["solve", "1+1?", "--backend", "scripted"]])
def test_an_error_of_the_system_is_one_line(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever file a command cannot read or write, the line names it; `--debug` shows the traceback."""

    def refuse(*_: object, **__: object) -> object:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/secret/file")

    monkeypatch.setattr("arbitrage.cli.inventory.registered", refuse)
    monkeypatch.setattr(Scripted, "language_model", refuse)
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: /secret/file: Permission denied; check")
    assert printed.err.count("\n") == 1
    with pytest.raises(PermissionError):
        main(["--debug", *words])


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("words", [["ls"], ["solve", "1+1?", "--backend", "scripted"], ["doctor", "--self-test"]])
def test_ctrl_c_is_one_word_and_exit_code_130(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In any command, whatever it was doing."""

    def interrupt(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    for target in ("inventory.registered", "inventory.bundled_models"):
        monkeypatch.setattr(f"arbitrage.cli.{target}", interrupt)
    monkeypatch.setattr(Scripted, "language_model", interrupt)
    assert main(words) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_ctrl_c_from_a_terminal_leaves_no_traceback() -> None:
    """A real signal to a real process, in the middle of its work."""
    script = """
import os, signal, sys
from arbitrage.cli import inventory, main
inventory.registered = lambda kind: os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(["ls"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == b"stopped\n"


@pytest.mark.parametrize("words", [["ls"], ["ls", "--json"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error_worth_a_word(words: list[str]) -> None:
    """`arbitrage ls | head -1` prints its line and nothing on standard error."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "arbitrage", *words]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(write)
    assert not done.stderr
    assert done.returncode in (0, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["ls"], ["ls", "--json"]])
def test_a_full_disk_is_one_line(words: list[str]) -> None:
    """Output that cannot be written ends in exit code 2."""
    command = [sys.executable, "-m", "arbitrage", *words]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: No space left on device")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
@pytest.mark.parametrize("words", [["ls"], ["--help"], ["bench", "--nonsense"], ["ls", "--json"]])
def test_terminals_without_unicode_get_readable_text(words: list[str], environment: dict[str, str], run: Run) -> None:
    """Frames and marks are drawn with what there is; no letter is a reason for a traceback."""
    done = run(*words, **environment)
    assert done.returncode == (2 if "--nonsense" in words else 0)
    assert b"Traceback" not in done.stderr
    if "PYTHONIOENCODING" in environment and "--help" not in words:
        assert (done.stdout + done.stderr).decode("latin-1").isascii()
    if "--json" in words:
        assert json.loads(done.stdout)["backends"]


def test_letters_that_a_terminal_lacks_are_written_as_numbers(
    shared: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label with a Greek letter is shown on an ASCII terminal; the command does not end there."""
    import io

    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["solve", "1 + 1?", "--backend", "scripted", "--strategy", "rsd:threshold=0.5"]) == 0
    stream.flush()
    assert b"rsd (\\u03c4=0.5)" in stream.buffer.getvalue()  # type: ignore[attr-defined]


def test_no_colour_where_nobody_can_see_it(run: Run) -> None:
    """Neither in a pipe nor with NO_COLOR is there an escape sequence, in lists, help or errors."""
    for words in (["ls"], ["bench", "--nonsense"]):
        for environment in ({"NO_COLOR": "1"}, {"NO_COLOR": None}):
            done = run(*words, FORCE_COLOR=None, **environment)
            assert b"\x1b" not in done.stdout + done.stderr
