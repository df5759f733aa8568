# The course's commands. `make help` lists them. Works with the make of macOS (3.81) too.

BIN  := .venv/bin
HTML := _build/html

# What the site is made from. Of these, Sphinx knows by itself which pages depend on what:
PAGES := $(wildcard book/*.md book/*.bib book/results/*.json book/figures/* book/traces/* book/checkpoints/*) \
  $(wildcard notebooks/*.ipynb notebooks/*/*.ipynb)
# and these may show on every page. The package belongs to them, because pages quote its code.
EVERYWHERE := _config.yml _toc.yml tools/book_site.py \
  $(shell find book/assets book/templates src/attnbook -type f ! -path '*/__pycache__/*' ! -name '*.py[co]' 2>/dev/null | sed 's/ /\\ /g')

# Two workers with one thread each are faster than one with two, and results do not depend on the machine.
export OMP_NUM_THREADS ?= 1
PYTEST_ARGS ?=
PYTEST = $(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 $(PYTEST_ARGS)
NBVAL = --nbval --nbval-current-env --nbval-cell-timeout=300 --ignore=notebooks/exercises

# Models before what is measured on them.
FIRST := book/results/train.py book/results/traces.py

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' Makefile)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

book: site  ## build the book (makes .venv first, if there is none) and say where it is
	@echo "the book is in $(HTML): open file://$(CURDIR)/$(HTML)/index.html, or run: make serve"

site: $(HTML)/.built

BUILD = $(BIN)/jupyter-book build . --warningiserror --nitpick --keep-going --quiet

# Changed pages are built again in seconds. Sphinx reports a warning only for pages that it reads, so those of
# a failed build are forgotten, to be read again by the next. What was built from nothing passed over none.
$(HTML)/.built: .venv/.installed $(EVERYWHERE) $(PAGES)
	@$(if $(filter-out $(PAGES),$?),rm -rf $(HTML) _build/.doctrees,:)
	@mkdir -p _build
	@whole=$$([ -d _build/.doctrees ] || echo $(HTML)/.whole); \
	$(BUILD) > _build/log.txt 2>&1 || { cat _build/log.txt; \
	  rm -f $(patsubst %,_build/.doctrees/%.doctree,$(basename $?)); exit 1; }; \
	touch $@ $$whole

# The build that decides: from nothing, so that no warning of any page is passed over.
whole: $(HTML)/.whole
$(HTML)/.whole: .venv/.installed $(EVERYWHERE) $(PAGES)
	@rm -rf $(HTML) _build/.doctrees
	@$(MAKE) --no-print-directory $(HTML)/.built

.venv/.installed: requirements.txt pyproject.toml tools/install.sh
	@tools/install.sh
	@touch $@

watch: .venv/.installed  ## build, serve and open the book; a saved page is built again and the browser reloads
	@$(BIN)/python tools/watch.py

serve: site  ## build if needed, serve the book on this machine and open it
	@$(BIN)/python tools/serve.py

test: ready  ## what must hold before a commit: style, types, labs, tests, the site in a browser
	@$(PYTEST) --dist=loadfile --no-loadscope-reorder -m "not exhaustive and not gpu" $(NBVAL) tests notebooks

test-all: ready  ## the same and what takes longer, with coverage; nightly and before a release
	@$(PYTEST) --dist=loadfile $(NBVAL) notebooks
	@$(PYTEST) --dist=worksteal -m "not gpu" --cov --cov-report=term-missing:skip-covered tests

# What comes before the tests, two at a time.
ready: .venv/.installed
	@$(MAKE) --no-print-directory --jobs=2 lint types whole machine

fresh:  ## both commands in a bare Debian (needs root; ARGS=--user: as an ordinary user; tools/fresh.sh --help)
	@tools/fresh.sh $(ARGS)

lint: .venv/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/oxlint --deny-warnings

types: types-of-package types-of-tests

types-of-package: .venv/.installed
	@$(BIN)/mypy

types-of-tests: .venv/.installed
	@$(BIN)/mypy --config-file tests/mypy.ini

machine: .venv/.installed
	@$(BIN)/python tools/machine.py

notebooks: .venv/.installed  ## write the exercises, execute the labs that changed (ALL=1: all; ONLY=02_recurrent: one)
	@$(BIN)/python tools/exercises.py
	@$(BIN)/python tools/notebooks.py $(if $(ALL),--all) $(ONLY)

stale: .venv/.installed  ## name the stored numbers whose source has changed since they were measured
	@$(BIN)/python tools/stale.py

results: .venv/.installed  ## train the models and measure again what the book reports (hours on a CPU)
	@set -e; for script in $(FIRST) $(filter-out $(FIRST),$(wildcard book/results/[a-z0-9]*.py)); do \
	  echo "$$script"; $(BIN)/python $$script; done

gpu: .venv/.installed  ## on a GPU: its tests, the labs and the benchmark, in eight minutes, into book/results/gpu.json
	@$(BIN)/python tools/gpu.py $(ARGS)

benchmark: .venv/.installed  ## measure speed and memory beside other libraries, in .venv-benchmark
	@$(BIN)/python book/results/benchmark.py $(ARGS)

wheel: .venv/.installed  ## build the wheel into dist/
	@rm -rf dist && $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist

mutants: .venv/.installed  ## break core modules and solutions in every small way (SAMPLE=25 a module; ONLY=name)
	@$(BIN)/python tools/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) $(ONLY)

colab: wheel  ## run labs and exercises under Colab's versions, from the notebook file and the wheel alone
	@$(BIN)/python tools/colab.py

floors: .venv/.installed  ## run the package's tests with the oldest versions that pyproject.toml allows
	@$(BIN)/python tools/floors.py

data: .venv/.installed  ## download Multi30k, verify it and unpack it (DATA=folder, default data)
	@$(BIN)/python tools/data.py $(or $(DATA),data)

links: site  ## follow every link that leaves the book (needs a network; not part of make test)
	@$(BIN)/python tools/links.py

picture: site machine  ## film the README's picture from the built site
	@$(BIN)/python tools/picture.py

fonts: .venv/.installed  ## make the site's fonts again from their packages (needs a network)
	@$(BIN)/python tools/fonts.py

pins:  ## resolve the pins again for every Python that the course promises (needs uv; UPGRADE=1: newest versions)
	@command -v uv >/dev/null || { echo "make pins needs uv: pip install uv, or brew install uv" >&2; exit 1; }
	@grep '^#' requirements.txt > requirements.new; grep -v '^#' requirements.txt > requirements.tmp
	@uv pip compile pyproject.toml --all-extras --group build --universal --python-version 3.11.0 --quiet \
	  --no-header --no-annotate $(if $(UPGRADE),--upgrade) --output-file requirements.tmp > /dev/null
	@cat requirements.tmp >> requirements.new && mv requirements.new requirements.txt && rm requirements.tmp

release: .venv/.installed  ## write a version everywhere (VERSION=1.2.0; or 1.3.0.dev0, which begins the next one)
	@$(BIN)/python tools/release.py --write "$(VERSION)"
	@$(MAKE) --no-print-directory notebooks

clean:  ## remove what was built; .venv stays
	rm -rf _build dist .pytest_cache .mypy_cache .ruff_cache .coverage
