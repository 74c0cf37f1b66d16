# Everything runs in a virtual environment that these targets make themselves: .venv, from constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# compiled files and options of somebody's shell are no business of these runs
unexport PYTHONDONTWRITEBYTECODE
unexport PYTEST_ADDOPTS

TARGET ?=
ENV_FILE ?=
ENV ?=
BACKEND_URL ?=
APP_URL ?=
SCREENALYTICS_URL ?=
BASE ?=
ARGS ?=

selection = $(if $(TARGET),--target $(TARGET)) $(if $(ENV),--env $(ENV)) $(if $(ENV_FILE),--env-file $(ENV_FILE)) \
	$(if $(BACKEND_URL),--backend-url $(BACKEND_URL)) $(if $(APP_URL),--app-url $(APP_URL)) \
	$(if $(SCREENALYTICS_URL),--screenalytics-url $(SCREENALYTICS_URL))

.PHONY: conformance test rogues mutants bench contracts lint clean

## check a target: the bundled reference, or TARGET=… ENV_FILE=…, or BACKEND_URL=…; more options in ARGS
conformance: $(READY)
	$(BIN)/trr-conformance run --report-dir build/report $(selection) $(ARGS)

## test the suite itself
test: $(READY)
	$(BIN)/python -m pytest -n auto -q $(ARGS)

## run every rogue against the suite
rogues: $(READY)
	$(BIN)/trr-conformance rogues --run --output build/rogues.json $(ARGS)

## change the reference's code at a few hundred places, and see which changes the suite does not notice; resumable
mutants: $(READY)
	$(BIN)/python -m conformance.mutants $(ARGS)

## measure
bench: $(READY)
	$(BIN)/python -m conformance.bench --output build/bench.json $(ARGS)

## check the contracts; with BASE=… (a git revision, a folder, a released version) also what changed since, and for whom
contracts: $(READY)
	$(BIN)/trr-conformance contracts check
	$(if $(BASE),$(BIN)/trr-conformance contracts diff $(BASE))

## ruff and mypy
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
