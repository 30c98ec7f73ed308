# Everything a contributor or a curious user needs: `make demo`, `make test`, `make lint`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PLUGINS := plugins/byol plugins/simclr plugins/lfr
INSTALLED := $(VENV)/.installed
METHOD ?= byol
SEED ?= 0

BENCHMARKS ?= ntxent momentum lfr step kept_memory overhead evaluation scaling views startup

.PHONY: setup demo lint test test-all bench docs clean

setup: $(INSTALLED)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ssl-registry needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(BIN)/python pyproject.toml constraints.txt $(PLUGINS:=/pyproject.toml)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' $(foreach p,$(PLUGINS),-e $(p))
	touch $@

# METHOD=simclr or METHOD=lfr shows the other two; SEED=1 another run.
demo: $(INSTALLED)
	$(BIN)/ssl-registry train $(METHOD) --config examples/digits/$(METHOD).yaml --seed $(SEED) --out runs/demo-$(METHOD)-$(SEED)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two workers with one thread each: two cores, no oversubscription.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'not slow'

test-all: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# Side by side with peers (an extra of the benchmarks alone), on all cores, in under fifteen minutes.
bench: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py --json runs/bench/$$name.json || exit 1; done
	$(BIN)/python benchmarks/table.py docs/performance.md $(BENCHMARKS:%=runs/bench/%.json)

# The site, in site/; a warning ends it.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) runs site
