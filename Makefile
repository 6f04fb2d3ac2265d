# Two commands: `make run` and `make test`. Each does all of its own set-up; what is done already is not done again.
#   make run ARGS="--port 9000 --data DIR --reset"     the demo
#   make test                                          everything, at most 20 minutes
#   make test T=tests/unit/tw/test_roc.py              one file, one folder, or one test (file::name); browser/test/..., too
#   make dev [ARGS="--port 9000"]                      the demo, begun anew after each change of a source, Vite watching
#   make format                                        formats Python and TypeScript, and mends what ruff can mend
#   make check                                         static checks, and every test that needs neither browser nor
#                                                      PostgreSQL nor a process of its own, some 2 minutes
#   make soak                                          the long loops
#   make mutants ARGS="--sample 20 codes"              deliberate faults, and who notices (docs/mutants.md)
#   make bench ARGS="--quick --only J"                 figures beside their limits (docs/performance.md)
#   make wheel                                         dist/chopmark-*.whl, for the machine that customers use
#   make lock [UPGRADE=--upgrade]                      new lock files from requirements*.in
#   make clean                                         removes what make made (not ./data)

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

BIN := .venv/bin
DONE := .venv/done
BUILD := src/chopmark/web/static/build
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# In the order of tests/conftest.py: xdist would put files with few tests, which take longest, last.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
UV_COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --quiet

# Compiled modules are kept: each server process that a test starts would compile the whole house again.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.PHONY: run dev test check format soak static types browser-tests setup setup-dev lock clean

run: setup
	@exec $(BIN)/chopmark demo $(ARGS)

dev: setup-dev
	@exec $(BIN)/python tools/dev.py $(ARGS)

ifdef T
test: setup-dev
ifneq ($(filter browser/%,$(T)),)
	tools/npm --prefix browser test -- $(T:browser/%=%)
else
	$(BIN)/python -m pytest $(T)
endif
else
test: debian setup-dev static browser-tests
	$(PYTEST) -m "not soak"
endif

format: setup-dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	tools/npm --prefix browser run format

check: setup-dev static
	tools/npm --prefix browser run check
	$(PYTEST) -q -m "not browser and not postgres" tests/architecture tests/property tests/unit tests/web

soak: setup-dev
	@$(PYTHON) tools/debian.py tools/debian-packages-soak.txt
	CHOPMARK_TAMPER_EXAMPLES=500 $(PYTEST) tests/property/audit tests/contract/test_audit_tampering.py
	$(PYTEST) -m soak

.PHONY: bench
bench: debian setup-dev
	@$(BIN)/python -m bench $(ARGS)

.PHONY: mutants
mutants: debian setup-dev
	$(BIN)/python -m tools.mutants run --at-once $(WORKERS) $(ARGS)
	@$(BIN)/python -m tools.mutants table

.PHONY: debian
debian:
	@$(PYTHON) tools/debian.py

static:
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --config pyproject.toml >$(DONE)/contracts.txt || { cat $(DONE)/contracts.txt; exit 1; }

browser-tests:
	tools/npm --prefix browser run check
	tools/npm --prefix browser test

.PHONY: wheel
wheel: setup
	@rm -rf dist
	$(PIP) wheel --no-deps --no-build-isolation --no-index -w dist .

setup: $(DONE)/run $(BUILD)/.done
setup-dev: $(DONE)/dev $(BUILD)/.done

$(DONE)/venv:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Chopmark needs Python 3.11 or newer.")'
	$(PYTHON) -m venv .venv
	@mkdir -p $(DONE) && touch $@

$(DONE)/run: $(DONE)/venv requirements.lock requirements.in pyproject.toml tools/metadata.py
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DONE)/dev: $(DONE)/run requirements-dev.lock
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

browser/node_modules/.done: browser/package.json browser/package-lock.json | $(DONE)/venv
	tools/npm --prefix browser ci
	@touch $@

BROWSER_SOURCES := $(shell find browser \( -path browser/node_modules -o -path browser/test \) -prune -o -type f -print 2>/dev/null)
$(BUILD)/.done: browser/node_modules/.done $(BROWSER_SOURCES)
	tools/npm --prefix browser run build
	@touch $@

lock: $(DONE)/dev
	$(UV_COMPILE) $(UPGRADE) -o requirements.lock requirements.in
	$(UV_COMPILE) $(UPGRADE) -c requirements.lock --override requirements-production.in -o requirements-production.lock \
		requirements.in
	$(UV_COMPILE) $(UPGRADE) -c requirements.lock -o requirements-hsm.lock requirements-hsm.in
	$(UV_COMPILE) $(UPGRADE) -c requirements.lock -o requirements-alarms.lock requirements-alarms.in
	$(UV_COMPILE) $(UPGRADE) -c requirements.lock -c requirements-hsm.lock -c requirements-alarms.lock -o requirements-dev.lock requirements-dev.in
	$(UV_COMPILE) $(UPGRADE) -o requirements-node.lock requirements-node.in

clean:
	rm -rf .venv browser/node_modules $(BUILD) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
