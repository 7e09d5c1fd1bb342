"""`arbitrage models`: what a user types and gets."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("llama_cpp")

from arbitrage.backends.bundled import bundled_gguf, bundled_path
from arbitrage.backends.loading import load_models
from arbitrage.cli import main
from arbitrage.types import Role


def test_export_and_quantize_make_files_that_load(tmp_path, capsys):
    """F16 first, then fewer bits beside it; each file is told with its size."""
    whole = tmp_path / "mine-F16.gguf"
    assert main(["models", "export", str(bundled_path("draft")), "--out", str(whole)]) == 0
    assert main(["models", "quantize", str(whole), "--to", "q4_0, Q2_K", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    for name in ("mine-Q4_0.gguf", "mine-Q2_K.gguf"):
        assert name in out
        model = load_models(roles=[Role.DRAFT], draft=f"gguf:{tmp_path / name}", threads=1).draft
        assert model.instruction == ""
    assert not list(tmp_path.glob("*.partial"))


def test_gptq_makes_a_directory_that_loads(tmp_path, capsys):
    """Calibrated on training problems of the bundled data set, or on a file of one's own."""
    pytest.importorskip("gptqmodel")
    rows = [{"problem": f"{i}+1", "answer": str(i + 1), "solution": f"{i}+1={i + 1}"} for i in range(20)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name, arguments in (("a", []), ("b", ["--dataset", str(tmp_path / "own.jsonl"), "--group-size", "64"])):
        out = tmp_path / name
        code = main(
            [
                "models",
                "quantize",
                str(bundled_path("draft")),
                "--gptq",
                "4",
                "--limit",
                "16",
                "--out",
                str(out),
                *arguments,
            ]
        )
        assert code == 0
        model = load_models(roles=[Role.DRAFT], draft=f"gptq:{out}", threads=1).draft
        assert model.describe()["group_size"] == (64 if arguments else 128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --to"),
        (["--to", "Q4_0", "--gptq", "4"], "either --to"),
        (["--to", "Q4_KM"], "Did you mean 'Q4_K_M'"),
        (["--to", "Q4_0"], "already quantised"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(tmp_path, capsys, arguments, message):
    """The source is the bundled Q8_0 file."""
    source = tmp_path / "draft-Q8_0.gguf"
    source.write_bytes(bundled_gguf("draft", "q8_0").read_bytes())
    assert main(["models", "quantize", str(source), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["draft-Q8_0.gguf"]
