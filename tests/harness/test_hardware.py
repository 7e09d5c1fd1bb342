"""Sizes, rates and times as people write them, and what a pass costs where weights are read from memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.errors import RunError
from arbitrage.harness.costs import ModelCost
from arbitrage.harness.hardware import GPUS, Gpu, Machine, ModelSize, parse_rate, parse_time


@pytest.mark.parametrize(
    ("text", "parameters", "bits"),
    [
        ("70e9@bf16", 70e9, 16),
        ("8B@int4", 8e9, 4),
        ("1.5b", 1.5e9, 16),
        ("300M@fp32", 3e8, 32),
        ("32B@4.5bit", 32e9, 4.5),
        ("1T@FP8", 1e12, 8),
    ],
)
def test_sizes_are_read(text: str, parameters: float, bits: float) -> None:
    """Parameters with a letter or an exponent, a format by name or by bits."""
    assert ModelSize.parse(text) == ModelSize(pytest.approx(parameters), bits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "big", "8B@", "8B@bf17", "8B@0bit", "-8B", "8", "8e900", "nan", "8B@99bit", "8 B C"]
)
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    """One message for a person."""
    with pytest.raises(ValueError, match="70e9@bf16"):
        ModelSize.parse(text)


def test_rates_and_times_are_read() -> None:
    """Units of data sheets; a pass, or a pass and each further token."""
    assert parse_rate("3.35TB/s") == 3.35e12
    assert parse_rate("900 GB/s") == 9e11
    assert parse_rate("2e12") == 2e12
    assert parse_time("12") == ModelCost(0.012)
    assert parse_time(" 12.5 + 0.05 ") == ModelCost(0.0125, 5e-5)


@pytest.mark.parametrize("text", ["", "fast", "0", "-3TB/s", "1e999", "3 XB/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    """With an example."""
    with pytest.raises(ValueError, match="TB/s"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "12+", "12+x", "1e999", "12+1e999"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """A pass takes some time; no infinities."""
    with pytest.raises(ValueError, match=r"12\+0\.05"):
        parse_time(text)


def test_a_pass_reads_every_weight_once() -> None:
    """70e9 weights of 2 bytes over 4 × 3.35e12 bytes/s, two operations a weight, and 2 × 79.5 all-reduces."""
    machine = Machine(GPUS["h100"], efficiency=1.0, all_reduce_s=1e-5)
    cost = machine.cost(ModelSize(70e9), 4)
    arithmetic = 2 * 70e9 / (4 * 989e12)
    assert cost.further_s == pytest.approx(arithmetic)
    assert cost.pass_s == pytest.approx(140e9 / (4 * 3.35e12) + arithmetic + 2 * 79.6 * 1e-5, rel=1e-4)
    assert cost.turn_s == 0
    one = replace(machine, launch_s=0.001).cost(ModelSize(8e9), 1)
    assert one.pass_s == pytest.approx(16e9 / 3.35e12 + 2 * 8e9 / 989e12 + 0.001)


def test_layers_are_those_of_known_models() -> None:
    """32 at 8 and 80 at 70 billion parameters, to a layer."""
    assert round(ModelSize(8e9).layers) == 32
    assert round(ModelSize(70.6e9).layers) == 80


@settings(deadline=None)
@given(st.floats(1e6, 1e12), st.floats(1, 32), st.integers(1, 8), st.floats(0.1, 1), st.floats(1.01, 4))
def test_more_weights_and_less_of_a_machine_are_never_faster(
    parameters: float, bits: float, gpus: int, efficiency: float, more: float
) -> None:
    """Monotone in parameters, bits, bandwidth, operations and efficiency."""
    machine = Machine(Gpu(1e12, 1e14), efficiency)
    cost = machine.cost(ModelSize(parameters, bits), gpus)
    assert machine.cost(ModelSize(more * parameters, bits), gpus).pass_s > cost.pass_s
    assert machine.cost(ModelSize(parameters, more * bits), gpus).pass_s > cost.pass_s
    for better in (Gpu(more * 1e12, 1e14), Gpu(1e12, more * 1e14)):
        assert replace(machine, gpu=better).cost(ModelSize(parameters, bits), gpus).pass_s < cost.pass_s


def test_weights_that_do_not_fit_are_an_error_that_says_so() -> None:
    """140 GB on one H100; on two they fit. Without a data sheet nobody knows."""
    with pytest.raises(RunError, match="140 GB of weights do not fit on 1 × 80 GB"):
        Machine(GPUS["h100"]).cost(ModelSize(70e9), 1)
    assert Machine(GPUS["h100"]).cost(ModelSize(70e9), 2).pass_s > 0
    assert Machine(Gpu(3.35e12, 989e12)).cost(ModelSize(70e9), 1).pass_s > 0
