# One command each. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV = $(BIN)/uv pip install --quiet --python
RELEASE := $(VENV)/release/bin
VENDORED := dashboard/hivewire_dashboard/static/vendor
CLIENT = --editable clients/python
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --no-header --universal --python-version 3.11 --generate-hashes \
	--no-emit-package hivewire-client

# What another Python may change: everything that needs no process of its own, and a little that does.
PORTABLE := tests/protocol tests/rooms tests/ledger tests/transport tests/http tests/gate/test_conformance.py \
	tests/gate/test_configuration.py tests/gate/test_events.py tests/gate/test_subscriptions.py

# With AGAIN=1, behind a run of tests by the program in $(1).
again = $(if $(AGAIN),|| { \
	echo "What failed is tried once more and alone. Red again is red. What passes now depends on the load: mend it." >&2; \
	$(1) -m pytest --maxfail 1 --last-failed --last-failed-no-failures none; })

.DEFAULT_GOAL := help
.PHONY: help serve cluster test test-bench test-newest test-long coverage check check-js format bench bench-peers bench-compare bench-cluster soak soak-cluster siege faults fuzz lock sbom screenshots bench-dashboard vendor vendor-check vendor-client clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.serve ## install what is needed and start the gateway (HIVEWIRE_PORT and HIVEWIRE_DATA are honoured)
	@exec $(BIN)/hivewire serve

cluster: $(VENV)/.test ## start three gateways on three NATS nodes, all on this machine (PORT=8081: of the first gateway)
	@exec $(BIN)/python -m bench.cluster $(if $(PORT),--port $(PORT))

# The suite starts Python a few hundred times. Without bytecode each start compiles everything again, and leaves memory
# that connections use later: an idle socket seems to take a tenth less.
test test-bench test-newest test-long coverage faults bench bench-compare: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/.test $(VENV)/.clients ## run the whole suite
	$(BIN)/python -m pytest -n auto --maxprocesses 6 --dist worksteal --ignore tests/bench

test-bench: $(VENV)/.test ## test what measures: the short forms of bench-peers, soak and siege
	$(BIN)/python -m pytest -n auto --maxprocesses 6 --dist worksteal tests/bench

test-newest: $(VENV)/newest/.test ## run a short form of the suite on the newest Python of this machine, if it is newer than ours (AGAIN=1 as below)
	@if [ ! -e $(VENV)/newest/.test ]; then echo "No Python here is newer than ours and runs: nothing more to test."; exit; fi; \
	echo "Testing with $$($(VENV)/newest/bin/python --version) ..."; \
	$(VENV)/newest/bin/python -m pytest -n auto --maxprocesses 6 --dist worksteal --hypothesis-profile=brief $(PORTABLE) $(call again,$(VENV)/newest/bin/python)

test-long: $(VENV)/.test ## try a thousand examples of each property instead of sixty, and 200 requests for each of the API (some minutes)
	$(BIN)/python -m pytest -n auto --maxprocesses 6 --dist worksteal --long tests/protocol tests/rooms tests/ledger \
		tests/gate/test_api_tools.py tests/gate/test_fleet_device.py tests/gate/test_watchers.py tests/gate/test_schemathesis.py \
		tests/system/test_wheel.py tests/clients/test_device.py tests/clients/test_gateway.py tests/clients/test_javascript.py

coverage: $(VENV)/.test $(VENV)/.clients ## run the whole suite and list the lines and branches that it does not reach (AGAIN=1: tries failures once more)
	@rm -rf .coverage && mkdir .coverage
	@$(BIN)/coverage run --source server,protocol,clients/python/hivewire_client -m hivewire --version >/dev/null  # names each file, also what nothing loads
	$(BIN)/coverage run -m pytest -n auto --maxprocesses 6 --dist worksteal $(call again,$(BIN)/coverage run)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(VENV)/.test ## lint, format, types, and which package may import which
	$(BIN)/ruff check .
	@$(BIN)/ruff format --check . || { echo "\`make format\` writes them as they should be." >&2; exit 1; }
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory check-js; \
	else echo "Without npm the types of clients/js are not checked." >&2; fi

format: $(VENV)/.test ## format the code, and write the tables and documents that are made from it
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/python -m tests.tables

check-js: clients/js/node_modules/.package-lock.json ## check the types of the JavaScript client
	clients/js/node_modules/.bin/tsc --project clients/js --noEmit

clients/js/node_modules/.package-lock.json: clients/js/package-lock.json
	@npm ci --prefix clients/js --silent --no-audit --no-fund

bench: $(VENV)/.test ## measure speed and memory on this machine, print a table and write bench/results.json
	$(BIN)/python -m bench

bench-peers: $(VENV)/.peers ## measure other stores with the same work (WRITE=1 updates docs/benchmarks.md)
	$(BIN)/python -m bench.peers $(if $(WRITE),--write)

bench-compare: $(VENV)/.test ## compare speed and memory with another checkout (WITH=folder), interleaved
	$(BIN)/python -m bench.compare $(WITH)

bench-cluster: $(VENV)/.test ## measure several gateways on one log, and etcd beside them where it is installed
	$(BIN)/python -m bench.replicated

soak: $(VENV)/.test ## kill a gateway under full load for a minute (SECONDS=n), let its disk hang, and see that watchers get everything, once
	$(BIN)/python -m bench.soak --seconds $(or $(SECONDS),60)

soak-cluster: $(VENV)/.test ## kill, stop and part three gateways and three NATS nodes under full load for two minutes (SECONDS=n)
	$(BIN)/python -m bench.soak.cluster --seconds $(or $(SECONDS),120)

siege: $(VENV)/.test ## attack every shared limit without a login for some seconds each (SECONDS=n; SHORT=1 measures no times), and see that a client with a token is served
	$(BIN)/python -m bench.siege --seconds $(or $(SECONDS),5) $(if $(SHORT),--short)

faults: $(VENV)/.test ## run all forms of the fault tests: kills, full disks, broken files, floods, slow clients (some minutes)
	$(BIN)/python -m pytest tests/faults --long

fuzz: $(VENV)/.fuzz ## feed mutated input to every parser, guided by coverage, for a minute (SECONDS=n); Linux only
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60)

lock: $(VENV)/.test ## rewrite the lock files: the newest version of each package that pyproject.toml allows, with hashes
	@$(COMPILE) --upgrade --extra test --output-file requirements-test.lock
	@$(COMPILE) --extra nats --extra otel --constraints requirements-test.lock --output-file requirements.lock

sbom: $(VENV)/.test $(VENV)/.release ## list the packages of requirements.lock with their licences in dist/sbom.json (CycloneDX)
	@mkdir -p dist && $(BIN)/uv venv --quiet --clear $(VENV)/locked
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(VENV)/locked requirements.lock
	$(RELEASE)/cyclonedx-py environment --pyproject pyproject.toml --output-file dist/sbom.json $(VENV)/locked

screenshots: $(VENV)/.test ## take the pictures of docs/dashboard.md again (with Chromium)
	@$(BIN)/python -m tests.dashboard.screenshots

bench-dashboard: $(VENV)/.test ## measure the dashboard in Chromium: 100,000 names, 200 changes a second, 5,000 devices (SECONDS=n)
	@$(BIN)/python -m bench.dashboard --seconds $(or $(SECONDS),30)

vendor: $(VENV)/.vendor ## bundle what the dashboard uses of others, and the JavaScript client (with Node)
	@node dashboard/vendor/build.mjs $(VENV)/vendor $(VENDORED)
	@$(MAKE) --no-print-directory vendor-client

vendor-check: $(VENV)/.vendor ## see that these files are what `make vendor` makes, byte for byte
	@rm -rf $(VENV)/vendored && node dashboard/vendor/build.mjs $(VENV)/vendor $(VENV)/vendored
	@diff -r --exclude=hivewire $(VENV)/vendored $(VENDORED) && echo "The vendored files are those of package-lock.json."

vendor-client: ## copy what a page needs of the JavaScript client into the dashboard
	@rm -rf $(VENDORED)/hivewire && cp -R clients/js/src $(VENDORED)/hivewire
	@cd $(VENDORED)/hivewire && rm cache.js device.js devices.js file.js fleet.js keeper.js oauth.js react.js tenants.js testing.js testing_devices.js

clean: ## remove the virtual environment and caches (never data)
	rm -rf $(VENV) .coverage .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Hivewire needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml clients/python/pyproject.toml requirements.lock | $(BIN)/python
	@echo "Installing Hivewire into $(VENV) ..."
	@$(INSTALL) --require-hashes --requirement requirements.lock
	@$(INSTALL) --no-deps $(CLIENT) --editable .
	@touch $@

# The tests need four times as many packages as a gateway. pip takes a minute for them, uv some seconds.
$(VENV)/.test: requirements-test.lock $(VENV)/.serve
	@echo "Installing what the tests need into $(VENV) ..."
	@sed -n '/^uv==/,/# via/p' requirements-test.lock >$(VENV)/uv.lock
	@$(INSTALL) --require-hashes --requirement $(VENV)/uv.lock
	@$(UV) $(BIN)/python --require-hashes --requirement requirements-test.lock
	@touch $@

$(VENV)/newest/.test: $(VENV)/.test
	@set -e; python=$$($(BIN)/python .ci/newest-python); if [ -n "$$python" ]; then \
	echo "Installing the same for $$($$python --version), $$python ..."; \
	$(BIN)/uv venv --quiet --clear --python $$python $(@D); \
	$(UV) $(@D)/bin/python --require-hashes --requirement requirements-test.lock; \
	$(UV) $(@D)/bin/python --no-deps $(CLIENT) --editable .; touch $@; fi

$(VENV)/.clients: tests/gate/clients/package-lock.json | $(BIN)/python
	@mkdir -p $(VENV)/clients && cp tests/gate/clients/package*.json $(VENV)/clients
	@npm ci --prefix $(VENV)/clients --silent --no-audit --no-fund || echo "Without npm, its client is not tested." >&2
	@touch $@

$(VENV)/.vendor: dashboard/vendor/package-lock.json | $(BIN)/python
	@mkdir -p $(VENV)/vendor && cp dashboard/vendor/package*.json $(VENV)/vendor
	@npm ci --prefix $(VENV)/vendor --silent --no-audit --no-fund
	@touch $@

$(VENV)/.peers: $(VENV)/.test
	@echo "Installing the stores that Hivewire is measured beside into $(VENV) ..."
	@$(UV) $(BIN)/python $(CLIENT) --editable '.[test,peers]'
	@touch $@

$(VENV)/.release: | $(BIN)/python
	@$(PYTHON) -m venv --clear $(VENV)/release
	@$(RELEASE)/python -m pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7,<8'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.test
	@echo "Installing what the fuzzer needs into $(VENV) ..."
	@$(UV) $(BIN)/python $(CLIENT) --editable '.[test,fuzz]'
	@touch $@
