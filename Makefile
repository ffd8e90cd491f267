# One command a verb; continuous integration calls the same ones.
# Each makes what it needs: `.venv` for everything but the comparisons with the reference
# implementation, which need torch and live in `.venv-oracle`.

PYTHON ?= python3
BIN := .venv/bin
ORACLE := .venv-oracle/bin
# Not compiled: of tens of thousands of files a run imports some, and compiles those itself.
PIP := -m pip install --quiet --disable-pip-version-check --no-compile
# Told as a variable, the constraints hold for the tools that build the package too.
PINNED := PIP_CONSTRAINT=$(CURDIR)/constraints.txt
# Which tests `test-all` runs, as pytest's -m has it: nothing means all of them.
MARKED ?=
# On every core up to four; tests of one group, such as the page's, share one of them.
PYTEST := -m pytest --numprocesses logical --maxprocesses 4 --dist loadgroup
# Nothing here needs the model hub; a run that would reach for it should fail, not wait.
export HF_HUB_OFFLINE := 1
# The benchmarks' peers use the same runtime as we do; none of them should send anything.
export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help setup serve demo test test-page test-all check bench bench-serve evaluate docs model clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready ## make .venv with everything but torch

.venv/.ready: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PINNED) $(BIN)/python $(PIP) -e '.[dev,s3-server]'
	@touch $@

.venv-oracle/.ready: pyproject.toml constraints.txt
	@test -x $(ORACLE)/python || $(PYTHON) -m venv .venv-oracle
	$(PINNED) $(ORACLE)/python $(PIP) -e '.[dev,oracle,ray]'
	@touch $@

.venv-clients/.ready: tests/clients/requirements.txt
	@test -x .venv-clients/bin/python || $(PYTHON) -m venv .venv-clients
	.venv-clients/bin/python $(PIP) --no-deps -r $<
	@touch $@

.venv-clients-older/.ready: tests/clients/requirements-older.txt
	@test -x .venv-clients-older/bin/python || $(PYTHON) -m venv .venv-clients-older
	.venv-clients-older/bin/python $(PIP) --no-deps -r $<
	@touch $@

serve: setup ## serve the bundled model on http://127.0.0.1:8000
	$(BIN)/pairscore serve

demo: setup ## rank real passages, and compare a bi-encoder with cross-encoders
	$(BIN)/pairscore demo
	@echo
	@echo "In the browser: run make serve, then open http://127.0.0.1:8000/"

test: setup ## the fast tests, without torch
	$(BIN)/python $(PYTEST)

test-page: setup ## the page of the service, in Chromium
	@command -v chromium > /dev/null || command -v chromium-browser > /dev/null || test -n "$$CHROMIUM" || { \
		if test "$$(id -u)" = 0 && command -v apt-get > /dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium > /dev/null; \
		else \
			echo "these tests need Chromium: install it (Debian: sudo apt-get install chromium), or name it: CHROMIUM=/path/to/chrome make test-page" >&2; exit 1; \
		fi; }
	$(BIN)/python -m pytest -m page tests/page

test-all: setup .venv-oracle/.ready .venv-clients/.ready .venv-clients-older/.ready ## all tests: slow ones, real clients, sentence-transformers too
	$(ORACLE)/python $(PYTEST) --durations 50 --durations-min 5 -m "$(MARKED)"

check: setup ## format, lint, types, and generated pages up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typing_api.py
	$(BIN)/python tools/build_docs.py --check

bench: setup .venv-oracle/.ready ## speed and memory against the peers (makes its own environments)
	$(BIN)/python benchmarks/setup_peers.py oracle peers
	$(BIN)/python benchmarks/bench.py

bench-serve: setup .venv-oracle/.ready ## servers under load, beside the article's app and Infinity
	$(BIN)/python benchmarks/serve/bench.py

evaluate: setup .venv-oracle/.ready ## accuracy against float32 and on judged data
	$(ORACLE)/python benchmarks/evaluate.py

docs: setup ## write the generated pages anew, and build the documentation's site into site/
	$(BIN)/python tools/build_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

model: setup ## make the bundled models anew from their published weights
	$(BIN)/python tools/build_bundled_model.py

clean: ## remove environments, caches and what the benchmarks made
	rm -rf .venv .venv-oracle .venv-peers .venv-infinity .venv-clients .venv-clients-older benchmarks/work .pytest_cache .mypy_cache .ruff_cache .hypothesis site
