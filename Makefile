# `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
CLUSTER := $(BIN)/python -m tests.lab.live_cluster
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
# Tests that wait for servers need one worker more than there are processors.
WAITING := $(shell expr $(WORKERS) + 1)
BY_FILE = -n $(WAITING) --dist loadfile --no-loadscope-reorder
CACHE ?= $(or $(BOKEH_AUTOSCALER_CACHE),$(HOME)/.cache/bokeh-autoscaler)
export BOKEH_AUTOSCALER_CACHE := $(CACHE)
export MYPY_CACHE_DIR := $(CACHE)/mypy
# The suite starts hundreds of Python processes; without compiled files each takes seconds to start.
export PYTHONDONTWRITEBYTECODE :=
export CMD
# File in which each part of the suite records how many tests it ran, for the summary at the end.
ifndef TEST_COUNTS
TEST_COUNTS := $(shell mktemp)
endif
export TEST_COUNTS

BASES = $(BASE:%=--base %) $(LOCAL_BASE:%=--local-base)

.DEFAULT_GOAL := help
.PHONY: help install parts node-images test test-node test-all test-fast fast idle slow containers waves node pages lint format docs demo big-data cluster bench bench-kubernetes bench-fidelity bench-scale soak audit images release sbom lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Create .venv with all dependencies (quick if nothing changed)

# uv takes 5 s where pip takes 80. pip is the fallback, for an index that only pip's settings name.
$(VENV)/.installed: requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make install PYTHON=python3.12"; exit 1; }
	@echo "Installing into $(VENV) (up to two minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt || $(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

parts: install ## Get the programs that the tests need (Prometheus, Kubernetes, nginx, HAProxy)
	@$(BIN)/python -m tests.lab.parts
	@$(BIN)/python -m tests.lab.newer_bokeh
	@$(BIN)/python -m tests.lab.big_data_environment
	@$(BIN)/python -m tests.lab.docs_environment

# Built before the tests that need them, so that builds do not count towards their timeouts.
node-images: parts
	@$(BIN)/python -m tests.lab.node_images

test: lint ## Run the suite without a node, fast tests first (12 minutes)
	@$(MAKE) --no-print-directory --jobs=2 fast parts
	@$(MAKE) --no-print-directory --jobs=2 idle slow LEAVE_OUT="and not containers"
	@$(BIN)/python -m tests.lab.counts $@

test-node: node-images ## Run the tests on a real Kubernetes node, as root (20 minutes)
	@$(MAKE) --no-print-directory waves
	@$(MAKE) --no-print-directory --jobs=3 node pages containers
	@$(BIN)/python -m tests.lab.counts $@

test-all: lint ## Run both, partly in parallel (as CI does; half an hour)
	@$(MAKE) --no-print-directory --jobs=2 fast node-images
	@$(MAKE) --no-print-directory waves
	@$(MAKE) --no-print-directory --jobs=3 node pages idle
	@$(MAKE) --no-print-directory slow
	@$(BIN)/python -m tests.lab.counts $@

test-fast: fast ## Run only the logic tests (two to three minutes)

# Two workers for each processor, because these tests wait half of their time.
fast: install
	@$(PYTEST) -m "not slow" -n $(shell expr 2 \* $(WORKERS)) --dist worksteal

# Targets that run in parallel buffer their output and print it when they finish.
IN_ONE_PIECE = log=$$(mktemp); $(1) > $$log 2>&1; code=$$?; cat $$log; rm $$log; exit $$code

idle:
	@$(call IN_ONE_PIECE,$(PYTEST) -m "mostly_idle" $(BY_FILE))

slow:
	@$(PYTEST) -m "slow and not node and not mostly_idle $(LEAVE_OUT)" $(BY_FILE)

containers:
	@$(call IN_ONE_PIECE,$(PYTEST) -m "containers")

# Alone: next to the suite, two cores would be too slow for its users, who wait only a limited time.
waves:
	@$(CLUSTER) --or-skip "$(PYTEST) -m 'node and timing_sensitive'"

# Tests on a node mostly wait, so two nodes halve the time. With KUBECONFIG there is only one cluster.
PAGES := tests/node/test_pages.py tests/node/test_proxies.py
ifdef KUBECONFIG
pages: node
endif

node:
	@$(call IN_ONE_PIECE,$(CLUSTER) --or-skip "$(PYTEST) -m 'node and not timing_sensitive' $(PAGES:%=--ignore=%)")

pages:
	@$(call IN_ONE_PIECE,$(CLUSTER) --or-skip "$(PYTEST) -m node $(PAGES)")

lint: install ## Check style, types and import contracts (ruff, mypy --strict, import-linter)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy --python-version 3.10 --package exporter
	@$(BIN)/lint-imports --no-logo

format: install ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: install ## Build the pages as a site into build/docs; needs no network once it has its packages
	@$(BIN)/python -m tests.docs.site

demo: install ## Scale real Bokeh servers on this machine with the real controller (two minutes)
	@$(BIN)/autoscaler demo

big-data: install ## Start the app with 10 million points and its service, until Ctrl-C; POINTS=1000000
	@$(BIN)/python -m tests.lab.live_big_data --points $(or $(POINTS),10000000)

cluster: parts ## Start a one-node Kubernetes with our images and manifests, as root; CMD='...' runs in it; IMAGES=a.tar; BARE=yes
	@exec $(CLUSTER) $(IMAGES:%=--image %) $(BARE:%=--bare) "$$CMD"  # so that TERM reaches it, and no shell

bench: install ## Measure everything that has a performance goal
	@$(BIN)/python -m tests.benchmarks

bench-kubernetes: parts ## Compare with the real HPA: time to enough replicas, lost sessions (a quarter of an hour)
	@$(BIN)/python -m tests.benchmarks.kubernetes
	@$(BIN)/python -m tests.drain.twelve_to_three
	@$(CLUSTER) --or-skip "$(BIN)/python -m tests.node.waves"

bench-fidelity: parts ## Compare simulations with the real HPA and, as root, with a real node (half an hour)
	@$(BIN)/python -m tests.benchmarks.fidelity

bench-scale: parts ## Measure the daemon with 100, 300 and 1,000 Deployments (half an hour); COUNT=100
	@$(BIN)/python -m tests.benchmarks.scale $(COUNT)

soak: parts ## Let the daemon endure random faults: an hour in memory, then a real one; MINUTES=3
	@$(BIN)/python -m tests.benchmarks.soak --minutes $(or $(MINUTES),60)
	@$(BIN)/python -m tests.benchmarks.soak --real --minutes $(or $(MINUTES),60)

audit: install ## Check the pinned packages for known vulnerabilities (asks OSV; Error 3 if it does not answer)
	@$(BIN)/python -m tests.supply_chain.audit

images: install ## Build our images into dist/, each with its SBOM, as root; BASE=image or LOCAL_BASE=yes
	@$(BIN)/python -m tests.supply_chain.images $(BASES)

release: install ## Check, build and try a release into dist/; VERSION=1.2.3, DRY_RUN=yes only checks
	@$(BIN)/python -m tests.supply_chain.release $(VERSION) $(DRY_RUN:%=--dry-run) $(BASES)

sbom: install ## Write what is in our images to dist/, as CycloneDX; ARCHIVES='...' of docker save
	@$(BIN)/python -m tests.supply_chain.sbom $(ARCHIVES)

lock: install ## Update the pinned requirements and their hashes
	@echo uv | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url - -o requirements/uv.txt > /dev/null
	@for set in "--all-extras --group dev:dev" "--extra daemon:daemon" ":exporter" \
	  "--group big-data:big-data" "--group big-data-service:big-data-service" \
	  "--group docs:docs"; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url $${set%%:*} pyproject.toml -o requirements/$${set##*:}.txt > /dev/null; \
	done
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header \
	  --no-emit-index-url requirements/bokeh-3.10.in -o requirements/bokeh-3.10.txt > /dev/null
	@$(BIN)/uv pip compile --quiet --python-version 3.10 --generate-hashes --no-header \
	  --no-emit-index-url requirements/python-3.10.in -o requirements/python-3.10.txt > /dev/null

clean: ## Delete everything that these targets created in this folder
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
