# make search   the main job: find a schedule for digits with half of the labels wrong
# make test     style, types, tests and the documentation's examples
# make docs     build the documentation into site/
# Each does all of its own set-up in .venv, or in another folder: make test VENV=/path

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
WORKERS ?= 2

# Compiled modules are kept: every process of a search or test would compile the package anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help search test lint style types pytest docs clean

help:
	@sed -n 's/^# \(make\)/\1/p' Makefile

# torch and torchvision have to come from one call, or they may not fit together.
$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "Installing torch and the other dependencies: a few minutes, about 5 GB."
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

search: $(VENV)/.installed
	$(BIN)/s2e search digits --noise symmetric --noise-rate 0.5 --workers $(WORKERS) \
		--storage sqlite:///storage/s2e.db --study digits-symmetric-50 \
		--out runs/digits-symmetric-50

lint: style types

style: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	nice -n 19 $(BIN)/mypy

# Types are checked while the tests run, in what these leave of the processors when they wait.
test: style
	$(MAKE) --no-print-directory --jobs 2 pytest types

# Tests that share what took long to make go to one process, until the other has none left.
pytest: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(TESTS)

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist site
