# Everything a contributor or a curious user needs: `make demo`, `make check`, `make test`, `make lint`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
INSTALLED := $(VENV)/.installed
SEED ?= 0
TESTS ?=

BENCHMARKS ?= ntxent losses momentum lfr step large_batch tokens kept_memory overhead evaluation scaling views startup

.PHONY: setup demo lint types check test test-all coverage bench docs dist clean

setup: $(INSTALLED)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ssl-registry needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(BIN)/python pyproject.toml ssl_registry/_version.py constraints.txt $(PLUGINS:=/pyproject.toml)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' $(foreach p,$(PLUGINS),-e $(p))
	touch $@

# What pretraining is worth where labels are few; SEED=1 is another run.
demo: $(INSTALLED)
	$(BIN)/python examples/few_labels/few_labels.py --seed $(SEED) --out runs/demo-$(SEED)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/mypy

# Before each commit: lint, and in what is left of two minutes the tests nearest to what changed.
check: $(INSTALLED)
	@start=$$(date +%s); $(MAKE) --no-print-directory lint || exit 1; \
	left=$$((start + 110 - $$(date +%s))); \
	OMP_NUM_THREADS=1 $(BIN)/python tools/changed_tests.py --seconds $$((left > 20 ? left : 20))

# Two workers with one thread each: two cores, no oversubscription.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'not slow' $(TESTS)

test-all: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(TESTS)

# Lines and branches, also those that only subprocesses run; TESTS=tests/nn for a part. It takes three times as long.
coverage: $(INSTALLED)
	rm -rf runs/coverage
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest -n 2 -m 'not slow' $(TESTS)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage html --quiet
	$(BIN)/python -m coverage report

# Side by side with peers (an extra of the benchmarks alone), on all cores, in under fifteen minutes.
bench: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py --json runs/bench/$$name.json || exit 1; done
	$(BIN)/python benchmarks/table.py docs/performance.md $(BENCHMARKS:%=runs/bench/%.json)

# The site, in site/; a warning ends it.
docs: $(INSTALLED)
	$(BIN)/python tools/option_table.py
	$(BIN)/python tools/method_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# What a release uploads: an sdist and a wheel of the core and of each plugin, in dist/.
dist: $(INSTALLED)
	rm -rf dist
	for folder in . $(PLUGINS); do \
		(cd $$folder && $(abspath $(BIN))/python -m hatchling build --directory $(abspath dist)) || exit 1; \
	done

clean:
	rm -rf $(VENV) runs site dist
