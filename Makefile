# Needs python3 (3.11 or later) with venv, and make; nothing else.
#   make test                    lint, format, types, tests: under 10 minutes on two cores
#   make long-test               the tests that take minutes each: all of the main job from an installed wheel
#   make fast-test               the tests that start no process: under 2 minutes; what to run while at work
#   make compare                 the main job; ARGS=--quick for the short one
#   make speed                   microbenchmarks beside Ray and others, and the page of docs/speed.md
#   make fast                    compile what every task goes through (needs a C compiler; docs/compiled.md)
#   make pure                    take that away again
#   make versions                a fast part of the tests with the oldest and the newest allowed packages
#   make lock                    choose the tested versions anew (constraints/), with uv
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test processes: one more than there are cores, since tests with processes wait more than they compute. A file is one
# process's from its first test to its last: a session that its tests share is made once.
JOBS ?= $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))')
PYTEST := $(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder
ARGS ?=
PIP := -m pip install --quiet --disable-pip-version-check
# What depends on other packages' ways: pickling, the wire, files, the command line, a program in every world.
FAST_PART := $(addprefix tests/, words worlds/test_by_value.py worlds/test_conformance.py client/test_process.py \
	client/test_store.py sim/test_determinism.py graphs/test_graph.py schedulers/test_plans.py door/test_cli.py)

.PHONY: all install test long-test fast-test check versions compare speed fast pure format lock clean
all: test

install: $(VENV)/.installed

# Tested versions, that of what builds it too, so that no new release can break it (constraints/README.md).
# Made again when they or pyproject.toml change. The mark is written last, so a broken install is tried again.
$(VENV)/.installed: pyproject.toml constraints/tested.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "labray needs Python 3.11 or later; set PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) -c constraints/tested.txt setuptools
	$(BIN)/python $(PIP) -c constraints/tested.txt --no-build-isolation -e '.[test,dev]'
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(PYTEST) -m 'not long'

long-test: install
	$(BIN)/python -m pytest -q -m long

fast-test: install
	$(PYTEST) -m 'not processes and not slow and not long'

versions: install
	test -x $(VENV)-oldest/bin/python || $(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python $(PIP) -c constraints/oldest.txt -e '.[test]'
	$(VENV)-oldest/bin/python -m pytest -q -m 'not slow and not long' $(FAST_PART)
	test -x $(VENV)-newest/bin/python || $(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python $(PIP) --upgrade --upgrade-strategy eager -e '.[test]'
	$(VENV)-newest/bin/python -m pytest -q -m 'not slow and not long' $(FAST_PART)

compare: install
	$(BIN)/python -m labray compare $(ARGS)

speed: install
	$(BIN)/python $(PIP) -c constraints/tested.txt -e '.[peers]'
	$(BIN)/python -m experiments.micro --peers ray,futures,pool,loky,dask --large $(ARGS)

fast: install
	LABRAY_COMPILE=1 $(BIN)/python setup.py --quiet build_ext --inplace

pure:
	rm -rf labray/_compiled

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# --upgrade: what is there already would be kept. pip reads both files; uv is only the tool that chooses.
lock: install
	$(BIN)/python $(PIP) uv
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --no-header --upgrade \
		--extra test --extra dev --extra peers -o constraints/tested.txt
	$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --no-header --upgrade \
		--extra test --resolution lowest-direct -o constraints/oldest.txt

clean:
	rm -rf build labray/_compiled results *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
