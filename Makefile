# `make` lists what there is. One environment, .venv, serves everything: the demo fills it lightly, the
# tests fill it up.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Test processes side by side. `pytest -n auto` counts physical cores and takes two threads for one.
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
EVERYTHING := azure,jobs,keyring,odbc,otel,plot,postgres,s3,spark,sqlserver,dev
LIGHT_STAMP := $(VENV)/.stamp-light
FULL_STAMP := $(VENV)/.stamp-full
AIRFLOW := .venv-airflow
MOTO := .venv-moto
MOTO_PACKAGES := moto[s3]==5.2.5 flask flask-cors
AIRFLOW_VERSION := 3.3.2
AIRFLOW_PACKAGES := apache-airflow-core==$(AIRFLOW_VERSION) apache-airflow-providers-standard
SCHEDULER := .venv-scheduler
SCHEDULER_VERSION := 2.12.1

UV := $(VENV)/.stamp-uv
# Installs into an environment. uv takes seconds where pip takes minutes; where it is not to be had, or can't reach the
# index that pip is set to, pip does it.
install = $(PY) -m uv pip install -q --python $(1)/bin/python $(2) || \
  $(PY) -m pip --python $(1)/bin/python install -q $(2)
# Hundreds of processes of the tests would each compile every module that they import.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv servers jars airflow scheduler moto demo test quick lint types bench docs notebooks clean

help: ## Lists these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(FULL_STAMP) ## Makes .venv with everything that development needs

demo: $(LIGHT_STAMP) ## Runs the main job on a made-up shop and a local lake
	$(PY) demo/run.py

test: servers $(FULL_STAMP) ## Runs lint, types and all tests; installs the servers they need where it may
	$(MAKE) -j 2 --output-sync airflow scheduler moto lint types jars
	$(PY) -m pytest -n $(WORKERS) --dist loadgroup

quick: $(FULL_STAMP) ## Runs the fast tests, in a minute or two
	$(PY) -m pytest -n $(WORKERS) --dist worksteal -m "not slow" --hypothesis-profile quick

lint: $(FULL_STAMP) ## Checks style, format and layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

types: $(FULL_STAMP) ## Checks the types, strictly
	$(VENV)/bin/mypy

bench: $(FULL_STAMP) ## Measures against the bare libraries and the peers, as ratios
	$(PY) benchmarks/run.py

docs: $(FULL_STAMP) ## Writes the generated pages of docs/ again
	$(PY) docs/generate.py

notebooks: $(FULL_STAMP) ## Runs the notebooks and saves them with their outputs
	$(PY) notebooks/execute.py

clean: ## Removes caches and built files; .venv stays
	rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

servers:
	tests/setup_servers.sh

# Before test processes side by side would fetch them into one cache.
jars: $(FULL_STAMP)
	$(PY) -W ignore -c 'from hwm_magics.spark.session import build; build().stop()'

# Airflow pins what it lives with, so it has an environment of its own; the tests read exported DAGs with it.
airflow: $(AIRFLOW)/.stamp-$(AIRFLOW_VERSION)

$(AIRFLOW)/.stamp-$(AIRFLOW_VERSION): $(FULL_STAMP)
	$(PY) -m venv --clear --without-pip $(AIRFLOW)
	$(call install,$(AIRFLOW),$(AIRFLOW_PACKAGES))
	@touch $@

# Jupyter Scheduler pins an old croniter, and would put itself into the JupyterLab of the browser tests.
scheduler: $(SCHEDULER)/.stamp-$(SCHEDULER_VERSION)

$(SCHEDULER)/.stamp-$(SCHEDULER_VERSION): $(FULL_STAMP)
	$(PY) -m venv --clear --without-pip $(SCHEDULER)
	$(call install,$(SCHEDULER),jupyter-scheduler==$(SCHEDULER_VERSION))
	@touch $@

# A server that speaks S3's protocol; it wants older packages than ours.
moto: $(MOTO)/.stamp

$(MOTO)/.stamp: $(FULL_STAMP)
	$(PY) -m venv --clear --without-pip $(MOTO)
	$(call install,$(MOTO),$(MOTO_PACKAGES))
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is missing or older than Python 3.11. Install one, or name it: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make environments. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(LIGHT_STAMP): pyproject.toml constraints.txt | $(UV)
	$(call install,$(VENV),-e '.[jobs]' -c constraints.txt)
	@touch $@

$(FULL_STAMP): pyproject.toml constraints.txt | $(UV)
	$(call install,$(VENV),-e '.[$(EVERYTHING)]' -c constraints.txt)
	@touch $(LIGHT_STAMP) $@

$(UV): constraints.txt | $(PY)
	-$(PY) -m pip install -q uv -c constraints.txt
	@touch $@
