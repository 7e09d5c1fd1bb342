"""From specs to models: what a spec means, which roles are filled, what is refused."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from arbitrage.backends.loading import ModelSpec, load_models, parse_spec
from arbitrage.errors import ModelLoadError, UnknownNameError
from arbitrage.interfaces import Settings
from arbitrage.testing import ScriptedModel
from arbitrage.types import Role
from tests.backends.checkpoints import save_classifier


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hf:Qwen/Qwen2.5-7B@cuda:1", ModelSpec("hf", "Qwen/Qwen2.5-7B", "cuda:1")),
        ("hf:Qwen/Qwen2.5-7B#abc123@cpu", ModelSpec("hf", "Qwen/Qwen2.5-7B#abc123", "cpu")),
        ("models/draft", ModelSpec("hf", "models/draft", None)),
        ("/a/b@v2/c", ModelSpec("hf", "/a/b@v2/c", None)),
        ("gguf:x.gguf", ModelSpec("gguf", "x.gguf", None)),
        ("bundled:target", ModelSpec("bundled", "target", None)),
        ("C:/models/x", ModelSpec("hf", "C:/models/x", None)),
    ],
)
def test_a_spec_names_backend_source_and_device(text, wanted):
    """Backend and device are optional; paths may hold signs that look like either."""
    assert parse_spec(text, "hf") == wanted


def test_roles_take_what_is_named_and_bundled_scorers_are_not_put_beside_other_models(pair, tmp_path):
    """With a pair of one's own, PRM and router stay empty unless they are named too."""
    models = load_models("hf", draft=str(pair[0]), target=f"hf:{pair[1]}@cpu", settings=Settings(max_tokens=5))
    assert models.roles() == {Role.DRAFT, Role.TARGET}
    assert models.settings.max_tokens == 5
    scorer = save_classifier(tmp_path / "prm")
    named = load_models("hf", roles=[Role.TARGET, Role.PRM], target=ScriptedModel(["x"]), prm=str(scorer))
    assert named.roles() == {Role.TARGET, Role.PRM}
    assert named.target.name == "scripted"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"draft": "hf:"}, ModelLoadError),
        ({"draft": "nobody:x"}, UnknownNameError),
        ({"draft": "bundled:drafft"}, ModelLoadError),
        ({"backend": "nobody"}, UnknownNameError),
    ],
)
def test_specs_that_name_nothing_are_errors(arguments, error):
    """Empty sources, unknown backends and unknown bundled models are refused by name."""
    with pytest.raises(error):
        load_models(**arguments)
