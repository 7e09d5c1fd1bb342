"""Tries a GGUF file in a process of its own, so that a file which crashes or hangs llama.cpp becomes a message.

python -m arbitrage.backends.gguf.probe MODEL.gguf
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from arbitrage.errors import ModelLoadError

_SECONDS = 60.0
_SECONDS_PER_GB = 30.0
_passed: set[tuple[str, int, int]] = set()


def check_loads(path: Path) -> None:
    """Load `path` and run one token through it, elsewhere. A file that passed is not tried again by this process.

    Raises:
        ModelLoadError: the loader refused the file, crashed, or did not come back in time.
    """
    state = path.stat()
    key = (str(path.resolve()), state.st_size, state.st_mtime_ns)
    if key in _passed:
        return
    limit = _SECONDS + _SECONDS_PER_GB * state.st_size / 1e9
    command = [sys.executable, "-m", "arbitrage.backends.gguf.probe", os.fspath(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise ModelLoadError(f"{path}: llama.cpp did not load it within {limit:.0f} s; the file is damaged") from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ModelLoadError(f"{path}: llama.cpp crashed while loading it ({name}); the file is damaged or unsupported")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelLoadError(reason.removeprefix("refused: "))
    _passed.add(key)


def main() -> None:
    """The child's side."""
    from arbitrage.backends.gguf.engine import EngineOptions, Pool, Weights

    path = Path(sys.argv[1])
    try:
        cache = Pool(Weights(path), EngineOptions(context=64), path.name).cache()
        cache.forward([0], 1)
    except ModelLoadError as error:
        sys.exit(f"refused: {error}")


if __name__ == "__main__":
    main()
