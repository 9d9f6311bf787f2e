# Every goal works alone on a fresh machine: it makes .venv, installs what it needs, then runs.
# Needed: Python 3.11 or newer (make PYTHON=python3.12 ... to choose one) and a C compiler.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt

# One thread per process: the networks are small, and the tests run side by side.
TEST_ENV := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 SDL_VIDEODRIVER=dummy
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs clean

help:
	@echo "make demo   ship a bundled policy: shape, certify, report (files go to demo/)"
	@echo "make test   the whole test suite"
	@echo "make lint   style, types and the import rule"
	@echo "make docs   the documentation, into site/"
	@echo "make clean  remove .venv and everything that was built"

demo: $(VENV)/niwaki.installed
	OMP_NUM_THREADS=1 $(BIN)/niwaki ship cartpole --task cartpole-v0 --out demo --restart
	@echo "open demo/report.html in a browser"

test: $(VENV)/dev.installed
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 $(ARGS)

lint: $(VENV)/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/dev.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

clean:
	rm -rf $(VENV) build demo dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find niwaki tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written last, so an installation that was interrupted is done again. The one for development
# covers the other.

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "niwaki needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ... chooses another")'
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/niwaki.installed: pyproject.toml constraints.txt | $(VENV)/created
	@echo "installing niwaki into $(VENV)"
	$(INSTALL) -e .
	@touch $@

$(VENV)/dev.installed: pyproject.toml constraints.txt | $(VENV)/created
	@echo "installing niwaki and its development tools into $(VENV)"
	$(INSTALL) -e ".[dev]"
	@touch $(VENV)/niwaki.installed $@
