# One line of help for each target: `make help`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
CLUSTER := $(BIN)/python -m tests.cluster.live
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
BY_FILE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
CACHE ?= $(or $(BOKEH_AUTOSCALER_CACHE),$(HOME)/.cache/bokeh-autoscaler)
export BOKEH_AUTOSCALER_CACHE := $(CACHE)
export MYPY_CACHE_DIR := $(CACHE)/mypy
# The suite starts hundreds of Pythons: where none may keep what it compiled, each takes seconds.
export PYTHONDONTWRITEBYTECODE :=
export CMD

.DEFAULT_GOAL := help
.PHONY: help install test test-fast test-waves test-waiting test-node test-pages test-slow lint format demo big-data cluster bench bench-kubernetes lock parts clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Make .venv with everything (quick when nothing changed)

# With uv: in 5 s what takes pip 80. pip follows, for an index that only its own settings name.
$(VENV)/.installed: requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make install PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV) (up to two minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt || $(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

parts: install ## Get the real parts that the tests need (Prometheus, Kubernetes, nginx, HAProxy)
	@$(BIN)/python -m tests.cluster.parts
	@$(BIN)/python -m tests.exporter.newer_bokeh
	@$(BIN)/python -m tests.big_data.environment

test: lint parts ## The whole suite against the real parts, fast tests first
	@$(PYTEST) -m "not slow" -n $(WORKERS)
	@$(MAKE) --no-print-directory --jobs=2 test-waves test-waiting
	@$(MAKE) --no-print-directory --jobs=3 test-node test-pages test-slow

# Of those side by side, all but one say at their end what they have to say.
IN_ONE_PIECE = log=$$(mktemp); $(1) > $$log 2>&1; code=$$?; cat $$log; rm $$log; exit $$code

# Users wait for their pages only so long: beside the suite it is two cores, not us, that lose them.
test-waves:
	@$(CLUSTER) --or-skip "$(PYTEST) -m 'node and calm'"

test-waiting:
	@$(call IN_ONE_PIECE,$(BIN)/python -m tests.background $(PYTEST) -m "waits" $(BY_FILE))

# On the node tests wait most of their time: two nodes halve it. A cluster that is given is one.
PAGES := tests/node/test_pages.py tests/node/test_proxies.py
ifdef KUBECONFIG
test-pages: test-node
endif

test-node:
	@$(call IN_ONE_PIECE,$(CLUSTER) --or-skip "$(PYTEST) -m 'node and not calm' $(PAGES:%=--ignore=%)")

test-pages:
	@$(call IN_ONE_PIECE,$(CLUSTER) --or-skip "$(PYTEST) -m node $(PAGES)")

test-slow:
	@nice -n 10 $(PYTEST) -m "slow and not node and not waits" $(BY_FILE)

test-fast: install ## Logic only, less than a minute
	@$(PYTEST) -m "not slow" -n $(WORKERS)

lint: install ## ruff, mypy --strict and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: install ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

demo: install ## Real Bokeh servers on this machine, scaled by the real daemon (two minutes)
	@$(BIN)/autoscaler demo

big-data: install ## An app with 10 million points and the service beside it, until Ctrl-C; POINTS=1000000
	@$(BIN)/python -m tests.big_data.live --points $(or $(POINTS),10000000)

cluster: parts ## A real one-node Kubernetes with our images and manifests, as root; CMD='...' runs in it
	@$(CLUSTER) "$$CMD"

bench: install ## Measure the speed of everything that has a goal
	@$(BIN)/python -m tests.benchmarks

bench-kubernetes: parts ## Beside the real HPA: seconds to enough replicas, sessions lost (a quarter of an hour)
	@$(BIN)/python -m tests.benchmarks.kubernetes
	@$(BIN)/python -m tests.drain.twelve_to_three
	@$(CLUSTER) --or-skip "$(BIN)/python -m tests.node.waves"

lock: install ## Renew the hashed requirements
	@echo uv | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url - -o requirements/uv.txt > /dev/null
	@for set in "--all-extras --group dev:dev" "--extra daemon:daemon" ":exporter" \
	  "--group big-data:big-data" "--group big-data-service:big-data-service"; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url $${set%%:*} pyproject.toml -o requirements/$${set##*:}.txt > /dev/null; \
	done
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header \
	  --no-emit-index-url requirements/bokeh-3.10.in -o requirements/bokeh-3.10.txt > /dev/null

clean: ## Remove what was made here
	@rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
