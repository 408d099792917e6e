# `make demo` and `make test` do all their own set-up; nothing else has to be installed first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= runs/demo
BENCH ?= build/bench
LOWEST ?= .venv-lowest
MINUTES ?= 30
# What `make bench` runs, in this order.
SPEEDS := start_speed pyramid_speed phase1_speed busy_speed second_look_speed onnx_speed decode_speed gate_speed train_speed allocator_speed simulate_speed
# The tests that need no trained pipeline, command or network.
FAST := tests/evaluation tests/phase1_classifier tests/phase2_anomaly tests/phase3_gate tests/data

.PHONY: help demo test lint types docs bench chaos test-lowest clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    simulate a small data set, train all three phases, evaluate (report in $(OUT)/report.html)"
	@echo "make test    lint, types, tests, doctests, notebooks, documents"
	@echo "make docs    build the site: build/docs/site/index.html"
	@echo "make lint    ruff and import-linter alone"
	@echo "make types   mypy alone"
	@echo "make bench   speed on this machine, a table with what is asked of it, some 10 minutes; BENCH=DIR for the files"
	@echo "make chaos   kills, full disks, damage and hostile files at random, half an hour; MINUTES=10 SEED=3 for another"
	@echo "make test-lowest   the fast tests with the lowest versions of all dependencies, in a virtual environment of its own"
	@echo "make clean   remove the virtual environments and caches"

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "gbad needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "== setting up $(VENV): PyTorch and the other dependencies, a few minutes and several GB the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[lite0,lite1,lite2,dev]'
	@touch $@

demo: $(VENV)/.installed
	@echo "== demo: simulate, train phases 1-3, evaluate; at most 10 minutes on 2 cores"
	$(BIN)/gbad demo --out $(OUT)

# One process per core with one thread each: threads of several processes would wait for one another. A process that is
# done takes tests from the other: some take a minute, most a moment.
test: lint types
	@echo "== tests, doctests, notebooks, documents"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: $(VENV)/.installed
	@echo "== lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed
	@echo "== types"
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/python docs/build.py
	@echo "== open build/docs/site/index.html"

# All scripts run even where one misses a target; the table at the end says which.
bench: $(VENV)/.installed
	@rm -f $(SPEEDS:%=$(BENCH)/%.csv)
	@for name in $(SPEEDS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py --out $(BENCH)/$$name.csv; done; \
		echo "== all of them"; $(BIN)/python benchmarks/table.py $(SPEEDS:%=$(BENCH)/%.csv)

# Not part of `make test`: it takes half an hour, and each time tries something else. See results/reliability.md.
chaos: $(VENV)/.installed
	PYTHONPATH=tests:. OMP_NUM_THREADS=1 $(BIN)/python -m chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Not part of `make test`: it downloads an older PyTorch. Warnings are no errors here, since old versions have their own.
test-lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade pip
	$(LOWEST)/bin/python tests/lowest_versions.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --constraint $(LOWEST)/constraints.txt --editable '.[lite0]' pytest pytest-xdist
	$(LOWEST)/bin/gbad train --help > /dev/null
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest --override-ini filterwarnings=default $(FAST)

clean:
	rm -rf $(VENV) $(LOWEST) .mypy_cache .pytest_cache .ruff_cache build *.egg-info
