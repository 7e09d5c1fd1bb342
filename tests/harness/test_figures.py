"""Figures for papers: which are made, that they are one column wide and legible, whatever the labels."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from matplotlib.image import imread

from arbitrage.errors import MissingExtraError, RunError
from arbitrage.harness import figures
from tests.harness import report_runs as runs

ALL = set(figures._CHARTS)


def test_each_chart_is_a_png_and_an_svg(tmp_path: Path) -> None:
    """A run with everything gives every chart in both forms; the list names all files and no other."""
    saved = figures.save_figures(runs.run(12), tmp_path / "figures")
    assert {file.stem for file in saved} == ALL
    assert sorted(saved) == sorted((tmp_path / "figures").iterdir())
    assert {file.suffix for file in saved if file.read_bytes().startswith(b"\x89PNG")} == {".png"}
    assert len(saved) == 2 * len(ALL)


def test_figures_are_one_column_wide_with_letters_of_seven_points(tmp_path: Path) -> None:
    """3.4 inches at 300 dots, and no text below 7 points except counts over bars."""
    for file in figures.save_figures(runs.run(12), tmp_path):
        if file.suffix == ".png":
            assert imread(file).shape[1] == round(figures.WIDTH * 300)
        else:
            assert ElementTree.parse(file).getroot().get("width") == f"{72 * figures.WIDTH:g}pt"
    assert all(size >= 7 for key, size in figures._TYPE.items() if key.endswith(("font.size", "labelsize", "fontsize")))


def test_the_same_run_gives_the_same_figures(tmp_path: Path) -> None:
    """No dates and no chance in the files: they can be kept under version control."""
    first, second = (figures.save_figures(runs.run(3), tmp_path / name) for name in ("a", "b"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_charts_without_data_are_left_out(tmp_path: Path) -> None:
    """A run of one author has no acceptance and no calibration; a run without rows has no figure."""
    asked = [runs.problem(index, level=None, subject=None) for index in range(3)]
    alone = runs.comparison([runs.row("target-only", one, []) for one in asked], asked)
    names = {file.stem for file in figures.save_figures(alone, tmp_path / "alone")}
    assert names == {"accuracy_over_latency", "time_by_component"}
    assert figures.save_figures(runs.comparison([], []), tmp_path / "none") == []


@pytest.mark.parametrize("payload", ["$\\nonsense{$ \x00\x1b\ud800_", "</svg><script> 漢字 🎲", "x" * 500])
def test_labels_are_drawn_as_they_are(tmp_path: Path, payload: str) -> None:
    """Neither mathematics nor control characters nor letters that the font lacks can break or warn a drawing."""
    for file in figures.save_figures(runs.hostile(payload), tmp_path):
        if file.suffix == ".svg":
            tags = {element.tag.split("}")[-1] for element in ElementTree.parse(file).iter()}
            assert "script" not in tags


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing is an extra: asking for figures names it and leaves nothing."""
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"\[report\]"):
        figures.save_figures(runs.run(1), tmp_path / "figures")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the folder's place gives an error with the path."""
    (tmp_path / "figures").write_text("")
    with pytest.raises(RunError, match="figures cannot be written"):
        figures.save_figures(runs.run(1), tmp_path / "figures")
