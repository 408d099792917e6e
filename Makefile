# `make demo` and `make test` do all their own set-up; nothing else has to be installed first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= runs/demo

.PHONY: demo test check lint types clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    simulate a small data set, train all three phases, evaluate (report in $(OUT)/report.html)"
	@echo "make test    lint, types, tests, doctests, notebooks"
	@echo "make clean   remove the virtual environment and caches"

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gbad needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "== setting up $(VENV): PyTorch and the other dependencies, a few minutes and several GB the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[lite0,dev]'
	@touch $@

demo: $(VENV)/.installed
	@echo "== demo: simulate, train phases 1-3, evaluate; at most 10 minutes on 2 cores"
	$(BIN)/gbad demo --out $(OUT)

test: lint types
	@echo "== tests, doctests, notebooks"
	# One process per core with one thread each: threads of several processes would wait for one another.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

lint: $(VENV)/.installed
	@echo "== lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	@echo "== types"
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build *.egg-info
