# The course's commands. `make help` lists them. Works with the make of macOS (3.81) too.

BIN  := .venv/bin
HTML := _build/html

# Everything the site is made from. The package belongs to it, because pages quote its code.
SITE_SOURCES := _config.yml _toc.yml \
  $(shell find book src/attnbook -type f ! -path '*/__pycache__/*' ! -name '*.py[co]' 2>/dev/null | sed 's/ /\\ /g') \
  $(wildcard notebooks/*.ipynb notebooks/*/*.ipynb)

# Two workers with one thread each are faster than one with two, and results do not depend on the machine.
export OMP_NUM_THREADS ?= 1
PYTEST_ARGS ?=
PYTEST = $(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 $(PYTEST_ARGS)
LABS = --nbval --nbval-current-env --nbval-cell-timeout=300 --ignore=notebooks/exercises tests/test_notebooks.py notebooks

# Models before what is measured on them.
FIRST := book/results/train.py book/results/traces.py

.DEFAULT_GOAL := help
.PHONY: help book site serve test test-all lint types machine notebooks results benchmark mutants colab wheel data links picture pins clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

book: site  ## build the book (makes .venv first, if there is none) and say where it is
	@echo "the book is in $(HTML): open file://$(CURDIR)/$(HTML)/index.html, or run: make serve"

site: $(HTML)/.built

# A build starts afresh, and a failed one leaves nothing: Sphinx reports a warning only for pages it reads,
# so that a second, incremental run would pass over it.
$(HTML)/.built: .venv/.installed $(SITE_SOURCES)
	@rm -rf $(HTML) _build/.doctrees && mkdir -p _build
	@$(BIN)/jupyter-book build . --all --warningiserror --nitpick --keep-going --quiet > _build/log.txt 2>&1 \
	  || { cat _build/log.txt; rm -rf $(HTML) _build/.doctrees; exit 1; }
	@touch $@

.venv/.installed: requirements.txt pyproject.toml tools/install.sh
	@tools/install.sh
	@touch $@

serve: site  ## build if needed, serve the book on this machine and open it
	@$(BIN)/python tools/serve.py

test: lint types site machine  ## what must hold before a commit: style, types, labs, tests, the site in a browser
	@$(PYTEST) --dist=loadfile $(LABS)
	@$(PYTEST) --dist=worksteal -m "not exhaustive and not gpu" --ignore=tests/test_notebooks.py tests

test-all: lint types site machine  ## the same and what takes longer, with coverage; nightly and before a release
	@$(PYTEST) --dist=loadfile $(LABS)
	@$(PYTEST) --dist=worksteal -m "not gpu" --cov --cov-report=term-missing:skip-covered --ignore=tests/test_notebooks.py tests

lint: .venv/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/.installed
	@$(BIN)/mypy

machine: .venv/.installed
	@$(BIN)/python tools/machine.py

notebooks: .venv/.installed  ## write the exercises, execute the labs that changed (ALL=1: all; ONLY=02_recurrent: one)
	@$(BIN)/python tools/exercises.py
	@$(BIN)/python tools/notebooks.py $(if $(ALL),--all) $(ONLY)

results: .venv/.installed  ## train the models and measure again what the book reports (hours on a CPU)
	@set -e; for script in $(FIRST) $(filter-out $(FIRST),$(wildcard book/results/[a-z0-9]*.py)); do \
	  echo "$$script"; $(BIN)/python $$script; done

benchmark: .venv/.installed  ## measure speed and memory beside other libraries, in .venv-benchmark
	@$(BIN)/python book/results/benchmark.py $(ARGS)

wheel: .venv/.installed  ## build the wheel into dist/
	@rm -rf dist && $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist

mutants: .venv/.installed  ## break core modules and solutions in every small way (SAMPLE=25 a module; ONLY=name)
	@$(BIN)/python tools/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) $(ONLY)

colab: wheel  ## run labs and exercises under Colab's versions, from the notebook file and the wheel alone
	@$(BIN)/python tools/colab.py

data: .venv/.installed  ## download Multi30k, verify it and unpack it (DATA=folder, default data)
	@$(BIN)/python tools/data.py $(or $(DATA),data)

links: site  ## follow every link that leaves the book (needs a network; not part of make test)
	@$(BIN)/python tools/links.py

picture: site machine  ## film the README's picture from the built site
	@$(BIN)/python tools/picture.py

pins: .venv/.installed  ## write what is installed now into requirements.txt
	@{ grep '^#' requirements.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -v '^#'; } > requirements.new
	@mv requirements.new requirements.txt

clean:  ## remove what was built; .venv stays
	rm -rf _build dist .pytest_cache .mypy_cache .ruff_cache .coverage
