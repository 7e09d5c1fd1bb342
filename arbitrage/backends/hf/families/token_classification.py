"""Token classifiers with two labels: our own PRMs and routers. Those of TRL read another stream (`trl`).

Stream: see `StreamEncoder`. Score: softmax of the two logits at the separator's last id, label 1.
"""

from __future__ import annotations

from typing import Any

from arbitrage.backends.hf.families.family import Family
from arbitrage.backends.hf.readout import TwoLabels
from arbitrage.backends.hf.scorer import StreamEncoder


def _module_class() -> Any:
    from transformers import AutoModelForTokenClassification

    return AutoModelForTokenClassification


TOKEN_CLASSIFICATION = Family(
    name="token-classification",
    module_class=_module_class,
    encoder=StreamEncoder,
    readout=lambda codec: TwoLabels(),
    labels=2,
    separated=True,
)
