# `make` lists what can be done. Everything it needs beside Python, git and make it installs by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test test-long nightly check bench bench-calls mutants docs clean browser

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## start everything: dashboard, API and jobs (ARGS="--port 9000 --data DIR --no-demo")
	@exec $(BIN)/bongsu up $(ARGS)

test: $(VENV)/dev.stamp browser ## install what the tests need, and run them all but the long ones
	$(BIN)/pytest -q -n 2 -m "not long" tests/unit tests/properties tests/conformance
	$(BIN)/pytest -q -n 2 -m "not long" --ignore=tests/unit --ignore=tests/properties --ignore=tests/conformance

test-long: $(VENV)/dev.stamp browser ## the tests that take minutes
	$(BIN)/pytest -q -n 2 -m long

nightly: $(VENV)/dev.stamp browser ## everything, with ten times the examples
	BONGSU_TEST_PROFILE=nightly $(BIN)/pytest -q -n 2

check: $(VENV)/dev.stamp ## format, lint, imports, types, dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/deptry .

bench: $(VENV)/dev.stamp ## measure, beside the alternatives, and write benchmarks/results
	$(BIN)/python -m benchmarks

bench-calls: $(VENV)/dev.stamp ## measure the call path beside well-known packages, and write benchmarks/results/call-path.md
	$(BIN)/python -m benchmarks call-path $(ARGS)

mutants: $(VENV)/mutants.stamp ## change the rules by a hair, and list in benchmarks/results/mutants.md what no test notices (ARGS=policies)
	PYTHONPATH=$(CURDIR)/$(VENV)/mutmut $(BIN)/python -m benchmarks.mutants $(ARGS)

docs: $(VENV)/dev.stamp browser ## write the generated reference pages and the screenshot anew
	$(BIN)/python -m docs.generate

clean: ## remove what was installed and built here (never the data directory)
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache test-results

$(VENV)/run.stamp: requirements/run.lock pyproject.toml
	@$(PYTHON) -c '' || { echo "$(PYTHON) does not run here. Name another: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Bongsu needs Python 3.11 or newer, and $(PYTHON) is older. Name another: make PYTHON=python3.12 ..."; exit 1; }
	@# What an installation that was cut short left behind is made anew.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "$(PYTHON) cannot make a virtual environment: install its venv module (on Debian: python3-venv)."; exit 1; }
	@echo "Installing what Bongsu runs on ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.lock $(VENV)/run.stamp
	@echo "Installing what the tests and checks need ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

# It stands apart from the tests' packages, for it brings a terminal library along.
$(VENV)/mutants.stamp: requirements/mutants.lock $(VENV)/dev.stamp
	@echo "Installing what changes the code for the tests to notice ..."
	@rm -rf $(VENV)/mutmut
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --target $(VENV)/mutmut -r $<
	@touch $@

# The browser is Debian's: a browser of its own that a test tool would download is not wanted here.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
		echo "Installing a browser for the tests ..."; \
		command -v apt-get >/dev/null && test "$$(id -u)" = 0 && \
			apt-get update -qq && apt-get install -qq -y chromium fonts-nanum >/dev/null; \
	} || { echo "The browser tests need Chromium: install it (on Debian: sudo apt-get install chromium)."; exit 1; }
