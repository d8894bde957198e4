# Everything works on a fresh machine with Python 3.11 or later; `make help` lists it.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
export DEBUG ?= 1
# Or each process of the tests would compile all of them again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo run test test-fast test-foreign test-long coverage lint bench wheel clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

install: $(VENV)/.installed  ## Make the virtual environment

demo: install  ## Log in and out through the real API, clean up, and see what happened
	$(RUN) -m project.demo

run: install  ## Serve the project on http://127.0.0.1:8000/
	$(RUN) manage.py migrate --verbosity 0
	$(RUN) manage.py runserver 127.0.0.1:8000

test: install  ## Run the tests on SQLite and on each database server that answers on loopback
	$(RUN) -m tests.databases $(ARGS)

test-fast: install  ## Run the quick tests, on SQLite only: those that start no process and wait for nothing
	$(RUN) -m pytest -q -n auto --dist loadgroup -m "not slow and not cron" $(ARGS)

test-foreign: install  ## Run the suites of simplejwt and dj-rest-auth, and djoser, with our app
	$(RUN) -m tests.foreign

test-long: install  ## Run the proofs of races, snapshots and the oracle at full length, which takes hours
	RACE_ROUNDS=1000 SNAPSHOT_CHECKS=1000000 SNAPSHOT_MILLION=1 ORACLE_RUNS=10000 \
		$(RUN) -m tests.databases --timeout=0 tests/test_races.py tests/test_cleanup_faults.py \
		tests/test_snapshot_history.py tests/test_oracle.py $(ARGS)

coverage: install  ## Run the tests as `make test` does, and count what they reach
	COVERAGE=1 $(RUN) -m tests.databases $(ARGS)

lint: install  ## Check style, types and migrations
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(RUN) manage.py makemigrations --check --dry-run

bench: install  ## Measure against other blacklists
	$(RUN) -m pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	$(RUN) -m benchmarks $(ARGS)

wheel: install  ## Build the wheel of the app into dist/
	rm -rf dist
	$(RUN) -m build --no-isolation --wheel --outdir dist

clean:  ## Remove what was built
	rm -rf dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis var
