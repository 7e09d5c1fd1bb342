"""The tokenizer of the hf backend, shared by threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("torch")

from arbitrage.backends.bundled import bundled_path
from arbitrage.backends.hf import HFBackend


@pytest.fixture
def _eager_switches() -> Iterator[None]:
    """Threads take turns after almost every instruction."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_eager_switches")
def test_threads_that_encode_do_not_change_what_others_render() -> None:
    """Rendering parses special tokens and encoding does not, by a setting that one tokenizer object has for both.

    Without a lock about one call in eighty goes wrong; that none of 2000 does then has a chance of 1e-11.
    """
    codec = HFBackend().language_model(str(bundled_path("draft"))).codec
    special = next(iter(codec.tokenizer.added_tokens_encoder))
    text, ids = f"a {special} b " * 20, codec.render([{"role": "user", "content": "What is 1+1? " * 20}])
    calls: list[tuple[Callable[[], object], object]] = [
        (call, call())
        for call in (
            lambda: codec.render([{"role": "user", "content": "What is 1+1? " * 20}]),
            lambda: codec.encode(text),
            lambda: codec.decode(ids),
        )
    ]
    wrong: list[int] = []
    together = threading.Barrier(4)

    def work(start: int) -> None:
        together.wait(60)
        for place in range(start, start + 500):
            call, expected = calls[place % 3]
            if call() != expected:
                wrong.append(place % 3)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
