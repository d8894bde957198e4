# Everything works on a fresh machine with Python 3.11 or later; `make help` lists it.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
export DEBUG ?= 1
# Or each process of the tests would compile all of them again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo run screenshots test test-browser test-clients test-clusters test-drivers test-fast test-foreign test-long test-mysql \
	test-newest test-postgresql test-versions coverage lint bench wheel clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

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

test-versions: install  ## Run the quick tests with each Django on each Python of this machine
	$(RUN) -m tests.versions $(ARGS)

test-newest: install  ## Run them with what is not out yet: let a scheduler call this
	$(RUN) -m tests.versions --newest $(ARGS)

test-drivers: install  ## Run tests with psycopg2 and mysqlclient, which are not the default
	$(RUN) -m tests.drivers $(ARGS)

test-mysql: install  ## Run tests on a current MySQL in a chroot (needs root and debootstrap)
	$(RUN) -m tests.chroot mysql $(ARGS)

test-postgresql: install  ## Run tests on a current PostgreSQL in a chroot (needs root and debootstrap)
	$(RUN) -m tests.chroot postgresql $(ARGS)

test-foreign: install  ## Run the suites of simplejwt and dj-rest-auth, and djoser, with our app
	$(RUN) -m tests.foreign

test-browser: install  ## Run the tests of cookies and of the admin in a real Chromium, without and with themes
	$(RUN) -m pip install --quiet --disable-pip-version-check --requirement tests/browser/requirements.txt
	$(RUN) -m tests.browser $(ARGS)

screenshots: install  ## Take the pictures of the admin in docs/images/
	$(RUN) -m pip install --quiet --disable-pip-version-check --requirement tests/browser/requirements.txt
	$(RUN) -m pytest -q -c tests/browser/pytest.ini --rootdir=. tests/browser/screenshots.py

test-clients: install  ## Generate clients in TypeScript and Python from the schema, and use them
	$(RUN) -m tests.clients $(ARGS)

test-clusters: install  ## Run the tests that start clusters: nodes of Galera, a primary with a standby
	DATABASE_URL=sqlite:///db.sqlite3 $(RUN) -m pytest -q -s -m clusters tests/test_clusters.py $(ARGS)

test-long: install  ## Run the proofs of races, snapshots and the oracle at full length, which takes hours
	THOROUGH=1 RACE_ROUNDS=1000 SNAPSHOT_CHECKS=1000000 SNAPSHOT_MILLION=1 ORACLE_RUNS=10000 \
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
