"""The capability table in the docs is what the code says, and the code says what is true."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("llama_cpp")
pytest.importorskip("gptqmodel")

from arbitrage.backends.capabilities import table
from arbitrage.errors import ModelLoadError
from arbitrage.registry import registry
from arbitrage.types import Role

DOCS = Path(__file__).parents[2] / "docs/backends.md"


def test_the_table_in_the_docs_is_printed_by_the_code():
    """Between its marks stands exactly what the command prints."""
    text = DOCS.read_text(encoding="utf-8")
    inside = text.split("<!-- capabilities -->\n")[1].split("<!-- /capabilities -->")[0]
    assert inside == table()


@pytest.mark.parametrize("name", ["hf", "gguf", "gptq"])
def test_what_a_backend_says_of_itself_is_true(name):
    """Capabilities are those of the loaded bundled draft; every precision named is shipped."""
    backend = registry().backend(name)
    model = backend.language_model(backend.bundled(Role.DRAFT), "cpu", threads=1)
    assert backend.facts.capabilities == model.capabilities
    if name == "hf":
        with pytest.raises(ModelLoadError, match="dtype"):
            backend.bundled(Role.TARGET, "q8_0")
    else:
        paths = [backend.bundled(Role.TARGET, precision) for precision in backend.facts.bundled]
        assert all(Path(path).exists() for path in paths)
        assert paths[0] == backend.bundled(Role.TARGET)
    scorer = backend.scorer(backend.bundled(Role.PRM), "cpu", threads=1)
    assert scorer.thresholds
