# make demo: the whole mission on the bundled model. make browse: the bundled study in the browser. make test: the checks. Each makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)
# OMP_NUM_THREADS=1 in the tests: two processes of two threads each would wait at each other's barriers.
# Extra words for pip when it installs torch: for example an --index-url with CPU builds, or with another CUDA's.
TORCH_OPTIONS ?=

.PHONY: demo browse test lint clean

demo: $(VENV)/.installed
	$(BIN)/saes demo --out checkpoints/demo

browse: $(VENV)/.installed
	$(BIN)/saes browse storyteller-sae --live

test: $(VENV)/.installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	HF_HUB_OFFLINE=1 WANDB_MODE=offline OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.installed
	$(BIN)/ruff check --fix . && $(BIN)/ruff format . && $(BIN)/mypy

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH_OPTIONS) $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
