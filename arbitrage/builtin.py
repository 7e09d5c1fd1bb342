"""What `arbitrage` itself registers, through the same hooks as every plugin."""

from __future__ import annotations

from arbitrage.hooks import Register, hookimpl


@hookimpl
def register_strategies(register: Register) -> None:
    """The baselines, token-level speculation, RSD and both forms of Arbitrage."""
    where = "arbitrage.strategies"
    register("target-only", f"{where}:TargetOnly", "the target writes everything (the row to compare with)")
    register("draft-only", f"{where}:DraftOnly", "the draft writes everything")
    register("random-route", f"{where}:RandomRoute", "each step goes to the target at random, at a given rate")
    register("draft-confidence", f"{where}:DraftConfidence", "escalate the steps that the draft was unsure of")
    register("token-sd", f"{where}:TokenSD", "exact token-level speculative decoding")
    register("rsd", f"{where}:RSD", "keep a draft step when the PRM rewards it enough (2501.19324)")
    register("arbitrage-oracle", f"{where}:ArbitrageOracle", "write both steps, keep the one with the better reward")
    register("arbitrage-router", f"{where}:ArbitrageRouter", "a router predicts when the target helps (2512.05033)")


@hookimpl
def register_backends(register: Register) -> None:
    """Model formats."""
    register("hf", "arbitrage.backends.hf:HFBackend", "transformers models (safetensors), on CPU or GPU")
    register("gguf", "arbitrage.backends.gguf:GGUFBackend", "GGUF files in llama.cpp, quantised or not, on CPU or GPU")
    register("gptq", "arbitrage.backends.gptq:GPTQBackend", "GPTQ checkpoints through gptqmodel, on CPU or GPU")


@hookimpl
def register_scorers(register: Register) -> None:
    """Scorers that are no model format of a backend."""
    register("http-prm", "arbitrage.backends.server:ServerPrm", "a PRM on a vLLM or SGLang server, by its URL")


@hookimpl
def register_datasets(register: Register) -> None:
    """Data sets by name; a path to a JSONL file works everywhere a name does."""
    where = "arbitrage.harness.datasets"
    register("bundled", f"{where}:bundled", "generated problems in MATH style, shipped with the package")
    register("bundled-train", f"{where}:bundled_train", "generated problems to train routers on, none of the above")
    register("math500", f"{where}:math500", "500 problems of MATH (from a file)")
    register("olympiadbench", f"{where}:olympiadbench", "OlympiadBench, text-only mathematics in English (from a file)")
    register("olympiadbench-674", f"{where}:olympiadbench_674", "the later release of OlympiadBench (from a file)")
    register("gsm8k", f"{where}:gsm8k", "grade-school word problems, test split (from a file)")
    sample = "arbitrage.harness.router.numina:numina"
    register("numina", sample, "30 000 problems of NuminaMath-CoT, to train routers on (from files or the hub)")
