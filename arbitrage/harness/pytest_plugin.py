"""`pytest --benchmark`: comparisons of strategies as tests, timed by pytest-benchmark.

Loaded by every pytest that finds this package installed, so nothing heavy is imported before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from arbitrage.harness.strategy_benchmark import StrategyBenchmark

FLAG = "--benchmark"
FIXTURE = MARKER = "strategy_benchmark"
_LINES = pytest.StashKey[list[Mapping[str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag."""
    parser.getgroup("arbitrage", "decoding strategies").addoption(
        FLAG,
        action="store_true",
        dest="strategy_benchmarks",
        help="run tests that measure decoding strategies (fixture strategy_benchmark); they are skipped otherwise",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker; refuse to measure several tests at once.

    Raises:
        UsageError: the flag together with pytest-xdist's workers.
    """
    config.addinivalue_line(
        "markers",
        f"{MARKER}(strategies, backends=('hf',), **options): run the test once for each strategy on each backend; "
        "options as for run_comparison",
    )
    config.stash[_LINES] = []
    if not config.pluginmanager.hasplugin("benchmark"):
        config.pluginmanager.register(_WithoutPytestBenchmark())
    workers = getattr(config.option, "numprocesses", None) or getattr(config.option, "tx", None)
    if config.getoption("strategy_benchmarks") and (workers or hasattr(config, "workerinput")):
        raise pytest.UsageError(
            f"{FLAG} measures wall-clock time; tests that run beside each other falsify it: leave -n out"
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is to be measured when nobody wants to wait for it."""
    if config.getoption("strategy_benchmarks"):
        return
    skip = pytest.mark.skip(reason=f"measures decoding strategies; needs {FLAG}")
    for item in items:
        if FIXTURE in getattr(item, "fixturenames", ()):
            item.add_marker(skip)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case for each strategy on each backend that the marker lists."""
    marker = metafunc.definition.get_closest_marker(MARKER)
    if marker is None or FIXTURE not in metafunc.fixturenames:
        return
    strategies, backends = _listed(marker)
    cases = [(strategy, backend) for backend in backends for strategy in strategies]
    if cases:
        metafunc.parametrize(
            FIXTURE, cases, indirect=True, ids=[f"{strategy}-{backend}" for strategy, backend in cases]
        )


@pytest.fixture
def strategy_benchmark(request: pytest.FixtureRequest, benchmark: Any) -> Iterator[StrategyBenchmark]:
    """Measures one strategy beside target-only, or several beside each other. See `StrategyBenchmark`."""
    from arbitrage.harness.strategy_benchmark import StrategyBenchmark

    if not request.config.pluginmanager.hasplugin("benchmark"):
        pytest.fail(
            "measuring needs pytest-benchmark. Install it with: pip install 'arbitrage-decoding[pytest]'", False
        )
    marker = request.node.get_closest_marker(MARKER)
    options = {} if marker is None else dict(marker.kwargs)
    options.pop("strategies", None)
    options.pop("backends", None)
    strategy, backend = getattr(request, "param", (None, "hf"))
    measured = StrategyBenchmark(benchmark, strategy, backend, options)
    yield measured
    for line in measured.summary():
        request.config.stash[_LINES].append({"test": request.node.name, **line})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What pytest-benchmark's own table has no columns for."""
    lines = config.stash.get(_LINES, [])
    if not lines:
        return
    titles = list(lines[0])
    widths = [max(len(title), *(len(line[title]) for line in lines)) for title in titles]
    terminalreporter.section("decoding strategies")
    for cells in (dict(zip(titles, titles, strict=True)), *lines):
        row = [cells[title].ljust(width) for title, width in zip(titles, widths, strict=True)]
        terminalreporter.write_line("  ".join(row).rstrip())
    terminalreporter.write_line(
        "speed-up: target-only's mean latency over the strategy's, both measured in turn on the same problems; "
        "square brackets: 95% intervals"
    )


class _WithoutPytestBenchmark:
    @pytest.fixture
    def benchmark(self) -> None:
        pytest.fail(
            "measuring needs pytest-benchmark. Install it with: pip install 'arbitrage-decoding[pytest]'", False
        )


def _listed(marker: pytest.Mark) -> tuple[list[Any], list[Any]]:
    names = ("strategies", "backends")
    given = dict(zip(names, marker.args, strict=False)) | {k: v for k, v in marker.kwargs.items() if k in names}
    strategies, backends = given.get("strategies", ()), given.get("backends", ("hf",))
    return ([strategies] if isinstance(strategies, str) else list(strategies)), (
        [backends] if isinstance(backends, str) else list(backends)
    )
