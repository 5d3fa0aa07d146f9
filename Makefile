# Needs python3 (3.11 or later) with venv, and make; nothing else.
#   make test                    lint, format, types, tests
#   make compare                 the main job; ARGS=--quick for the short one
#   make speed                   microbenchmarks beside Ray and others, and the page of docs/speed.md
#   make fast                    compile what every task goes through (needs a C compiler; docs/compiled.md)
#   make pure                    take that away again
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: all install test check compare speed fast pure format clean
all: test

install: $(VENV)/.installed

# Made again when pyproject.toml changes. The mark is written last, so a broken install is tried again.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "labray needs Python 3.11 or later; set PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest -q

compare: install
	$(BIN)/python -m labray compare $(ARGS)

speed: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[peers]'
	$(BIN)/python -m experiments.micro --peers ray,futures,pool,loky,dask --large $(ARGS)

fast: install
	LABRAY_COMPILE=1 $(BIN)/python setup.py --quiet build_ext --inplace

pure:
	rm -rf labray/_compiled

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build labray/_compiled results *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
