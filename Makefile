# Two commands do everything, set-up included:
#   make submission   the whole pipeline, on the competition that params.yaml names
#   make test         the whole test suite

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
RUN := PATH="$(BIN):$$PATH"
# a process for each core, four at most (each holds torch: 1 GB); tests of one file may share a project, so stay together
PARALLEL := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: submission test fast-test lint setup setup-dev

submission: setup
	@$(RUN) python -m pipeline folds
	@$(RUN) python -m pipeline repro
	@$(RUN) python -m pipeline summary --solution data/demo/solution.csv

test: setup-dev lint
	$(RUN) python -m pytest $(PARALLEL)

fast-test: setup-dev
	$(RUN) python -m pytest $(PARALLEL) -m "not slow"

lint: setup-dev
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.txt constraints.txt | $(VENV)/.python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.installed-dev: requirements.txt requirements-extra.txt requirements-ray.txt requirements-slurm.txt requirements-s3.txt requirements-dev.txt constraints.txt | $(VENV)/.python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $(VENV)/.installed $@

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Name another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@
