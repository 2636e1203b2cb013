# make demo   environment + anomaly map of the MNI152 template with a lesion drawn into it
# make test   environment + lint, types, import contracts, tests
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# two processes; the tests of a module stay together, as they share fixtures
PYTEST ?= -n 2 --dist loadscope
# versions and hashes of all packages, torch apart: see `make lock`
LOCKED := --quiet --disable-pip-version-check --no-deps --require-hashes
export PYTHONPATH := $(CURDIR)

.PHONY: help setup setup-dev demo test test-slow lint benchmark package docs docs-picture clean

help:            ## list the targets
	@grep -E '^[a-z0-9.-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: requirements-torch.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	@touch $@

$(VENV)/.run: requirements.lock $(VENV)/.torch
	$(BIN)/python -m pip install $(LOCKED) -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(BIN)/python -m pip install $(LOCKED) -r requirements-dev.lock
	@touch $@

setup: $(VENV)/.run          ## environment to run the bundle
setup-dev: $(VENV)/.dev      ## environment to test it

demo: setup      ## anomaly map of a template with a drawn lesion: NIfTI, JSON and PNG in demo/
	$(BIN)/python -m scripts.cli.demo --output_dir demo

test: setup-dev lint  ## lint, types, import contracts and tests
	$(BIN)/python -m pytest $(PYTEST) -m "not slow and not monailabel"

test-slow: setup-dev  ## tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: setup-dev  ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

benchmark: setup ## speed and memory, a table and JSON in runs/benchmark; adds lines to docs/benchmarks.csv
	$(BIN)/python -m tools.benchmark --output_dir runs/benchmark --table docs/benchmarks.csv

package: setup   ## the bundle as a zip for the Model Zoo and MONAI Label, in dist/
	$(BIN)/python -m tools.release.package_bundle --output_dir dist

$(VENV)/.docs: requirements-docs.lock | $(BIN)/python
	$(BIN)/python -m pip install $(LOCKED) -r requirements-docs.lock
	@touch $@

docs: $(VENV)/.docs  ## the documentation as a web site in site/; a warning or a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# needs Chromium (Debian: apt-get install chromium)
docs-picture: demo  ## docs/images/report.png: the demo's report, as the README shows it
	chromium --headless=new --no-sandbox --hide-scrollbars --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader \
	  --window-size=1000,1200 --virtual-time-budget=60000 --screenshot=docs/images/report.png \
	  "file://$(CURDIR)/demo/mni152_lesion/report.html"

# After a change of a requirements file. What is locked already stays, but for `make lock UPGRADE=--upgrade`, which takes
# the newest that the requirements allow, or UPGRADE="--upgrade-package NAME". Its settings are in pyproject.toml.
UV := $(VENV)/uv/bin/uv
COMPILE = $(UV) pip compile --quiet $(UPGRADE)
.PHONY: lock

$(UV):
	$(PYTHON) -m venv $(VENV)/uv
	$(VENV)/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

lock: $(UV)      ## versions and hashes of all packages again: requirements*.lock from requirements*.txt
	$(COMPILE) requirements.txt requirements-dicom.txt -c requirements-torch.txt -o requirements.lock
	$(COMPILE) requirements-dev.txt -c requirements-torch.txt -c requirements.lock -o requirements-dev.lock
	$(COMPILE) requirements-docs.txt -o requirements-docs.lock
	$(COMPILE) requirements-monailabel.txt -c requirements-torch.txt -o requirements-monailabel.lock

clean:           ## remove what the targets made, but not the environment
	rm -rf demo dist site .pytest_cache .mypy_cache .ruff_cache

# the suite with the older line of MONAI, in an environment of its own
MONAI15_VENV ?= .venv-monai-1.5
.PHONY: test-monai-1.5

$(MONAI15_VENV)/.ready: requirements-torch.txt requirements.txt requirements-dicom.txt requirements-dev.txt requirements-monai-1.5.txt
	$(PYTHON) -m venv $(MONAI15_VENV)
	$(MONAI15_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	$(MONAI15_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(MONAI15_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-monai-1.5.txt
	@touch $@

test-monai-1.5: $(MONAI15_VENV)/.ready  ## the tests with monai 1.5.2 instead of 1.6.1
	PATH="$(abspath $(MONAI15_VENV))/bin:$$PATH" $(MONAI15_VENV)/bin/python -m pytest $(PYTEST) -m "not slow and not monailabel"

# MONAI Label has an environment of its own: see requirements-monailabel.txt
LABEL_VENV ?= .venv-monailabel
LABEL_BIN := $(LABEL_VENV)/bin
LABEL_APPS ?= runs/monailabel
STUDIES ?= studies
.PHONY: monailabel test-monailabel

$(LABEL_VENV)/.ready: requirements-torch.txt requirements-monailabel-no-deps.txt requirements-monailabel.lock
	$(PYTHON) -m venv $(LABEL_VENV)
	$(LABEL_BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	$(LABEL_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-monailabel-no-deps.txt
	$(LABEL_BIN)/python -m pip install $(LOCKED) -r requirements-monailabel.lock
	@touch $@

monailabel: $(LABEL_VENV)/.ready  ## MONAI Label server with this bundle for the scans in STUDIES=folder
	rm -rf $(LABEL_APPS) && mkdir -p $(LABEL_APPS)
	$(LABEL_BIN)/python -m tools.release.package_bundle --output_dir $(LABEL_APPS)
	$(LABEL_BIN)/python tools/monai_label/start.py apps --download --name monaibundle --output $(LABEL_APPS)
	$(LABEL_BIN)/python -m zipfile -e $(LABEL_APPS)/*.zip $(LABEL_APPS)/monaibundle/model
	PATH="$(abspath $(LABEL_BIN)):$$PATH" PYTHONPATH= $(LABEL_BIN)/python tools/monai_label/start.py start_server \
	  --app $(LABEL_APPS)/monaibundle --studies $(STUDIES) --host 127.0.0.1 \
	  --conf models brain_mri_anomaly_segmentation --conf zoo_source local --conf skip_trainers true

test-monailabel: $(LABEL_VENV)/.ready  ## a real MONAI Label server with this bundle; takes ten minutes
	$(LABEL_BIN)/python -m pytest tests/monailabel -m monailabel

# the code checks of the Model Zoo's runtests.sh, with its settings, on the unzipped package in a folder laid out as the zoo's
ZOO_VENV ?= .venv-zoo
ZOO := runs/zoo
ZOO_LINT := cd $(ZOO) && PYTHONPATH= $(abspath $(ZOO_VENV))/bin/python -m
.PHONY: lint-zoo

$(ZOO_VENV)/.ready:
	$(PYTHON) -m venv $(ZOO_VENV)
	$(ZOO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check black==26.10.1 isort==9.0.2 flake8==7.5.0 \
	  flake8-bugbear==26.10.27 flake8-comprehensions==3.17.0 pep8-naming==0.15.1
	@touch $@

lint-zoo: setup $(ZOO_VENV)/.ready ## the Model Zoo's black, isort and flake8 on the package
	rm -rf $(ZOO) && mkdir -p $(ZOO)/models $(ZOO)/ci
	$(BIN)/python -m tools.release.package_bundle --output_dir $(ZOO)
	$(BIN)/python -m zipfile -e $(ZOO)/*.zip $(ZOO)/models
	cp -r tests/package/zoo $(ZOO)/ci/unit_tests
	$(ZOO_LINT) isort --profile black --line-length 120 --project models --check .
	$(ZOO_LINT) black --line-length 120 --target-version py39 --skip-magic-trailing-comma --exclude '^$$' --check .
	$(ZOO_LINT) flake8 --isolated --max-line-length 120 --select B,C,E,F,N,P,T4,W,B9 \
	  --ignore E203,E501,E741,W503,W504,C408,N812,B023 --per-file-ignores __init__.py:F401 .

# an environment of its own with the built wheel, and one real scan from an empty folder: needs a scan and some minutes
WHEEL_VENV ?= .venv-wheel
SCAN ?= scan.nii.gz
# the egg-info that a build leaves in the repository would pass for the installed package
OUTSIDE := env -u PYTHONPATH
.PHONY: wheel test-wheel

wheel: setup      ## the wheel with the commands brain-anomaly and brain-anomaly-bids, in dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

test-wheel: wheel ## the wheel in an empty environment: SCAN=scan.nii.gz is analysed outside of the repository
	$(PYTHON) -m venv --clear $(WHEEL_VENV)
	$(OUTSIDE) $(WHEEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	$(OUTSIDE) $(WHEEL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check dist/brain_mri_anomaly_segmentation-*.whl
	rm -rf runs/wheel && mkdir -p runs/wheel
	cd runs/wheel && $(OUTSIDE) $(abspath $(WHEEL_VENV))/bin/brain-anomaly $(abspath $(SCAN)) out --num_samples 2
