# The commands of the study. `make help` lists them; README.md explains them. What runs when is decided in
# helpers/running/steps.py: a notebook runs if its files, its code or its parameters are not those of its last run.

STUDY ?= demo
PYTHON ?= python3
ARGS ?=
NOTEBOOKS := $(basename $(notdir $(sort $(wildcard notebooks/*.ipynb))))

# The folder of the original files; build/<study>/data_dir remembers it.
DATA_DIR ?= $(shell cat 'build/$(STUDY)/data_dir' 2>/dev/null)
export DATA_DIR
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
# Keep what JAX has compiled, so that a second run starts at once.
JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/build/jax
export JAX_COMPILATION_CACHE_DIR

# PYTHON is used if it has all packages in their versions (conda, a container). Otherwise .venv is created, and created
# again if REQUIREMENTS changes.
REQUIREMENTS ?= $(or $(notdir $(basename $(wildcard .venv/*.ready))),requirements.txt)
export REQUIREMENTS
ifeq ($(REQUIREMENTS),requirements-jax.txt)
KERAS_BACKEND ?= jax
export KERAS_BACKEND
endif
READY := $(shell "$(PYTHON)" helpers/running/preflight.py $(REQUIREMENTS) >/dev/null 2>&1 && echo yes)
PY := $(if $(READY),$(PYTHON),.venv/bin/python)
ENVIRONMENT := $(if $(READY),,.venv/$(REQUIREMENTS).ready)

STEPS = "$(PY)" -m helpers.running.steps
# JOBS=2 runs two notebooks at a time (the demo: three). WAIT=no gives up if another make works on the study.
PATIENCE = $(if $(filter no,$(WAIT)),--no-wait)
OPTIONS = --study "$(STUDY)" $(JOBS:%=--jobs %) $(PATIENCE)

.DELETE_ON_ERROR:
.PHONY: help env python data all check compare report verify test test-fast references bench export demo-app lab clean clean-trained \
  $(NOTEBOOKS)

help: ## list the commands
	@echo "make COMMAND [STUDY=demo|ham10000_cpu|…] [DATA_DIR=folder of the original files]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-15s%s\n", $$1, $$2 }' Makefile
	@echo "One notebook:                     make 03_cnn_baseline"
	@echo "A trial with other parameters:    make 03_cnn_baseline ARGS=\"-p epochs 5 -p learning_rate 3e-4\""
	@echo "Notebooks: $(NOTEBOOKS)"

env: $(ENVIRONMENT) ## create the Python environment (.venv), unless all packages are installed already
	@echo "Python of this study: $$("$(PY)" -c 'import sys; print(sys.executable)')"

python: $(ENVIRONMENT)
	@echo "$(PY)"

.venv/$(REQUIREMENTS).ready: $(REQUIREMENTS)
	@"$(PYTHON)" -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" || \
	  { echo "$(PYTHON) is not Python 3.11 to 3.13. Name one that is: make PYTHON=python3.11 …" >&2; exit 1; }
	@echo "$(PYTHON) lacks packages of $(REQUIREMENTS), so .venv is created:"
	@"$(PYTHON)" helpers/running/preflight.py $(REQUIREMENTS) || true
	"$(PYTHON)" -m venv --clear .venv
	.venv/bin/python -m pip install --progress-bar on -r $(REQUIREMENTS)
	@touch $@

data: | $(ENVIRONMENT) ## download the study's dataset from its publisher into data/ (the demo's is drawn)
	@$(STEPS) data --study "$(STUDY)"

all: | $(ENVIRONMENT) ## run every notebook of the study that is not complete
	@$(STEPS) run all $(OPTIONS) $(ARGS)

$(NOTEBOOKS): | $(ENVIRONMENT)
	@$(STEPS) run $@ $(OPTIONS) $(if $(NAME),--name "$(NAME)") $(ARGS)

compare: | $(ENVIRONMENT) ## say how runs of the study differ: RUNS="03_cnn_baseline trials/03_cnn_baseline/epochs=5"
	@"$(PY)" -m helpers.running.compare --study "$(STUDY)" $(RUNS)

check: | $(ENVIRONMENT) ## say whether every file of the study is the one that its notebook left
	@"$(PY)" -m helpers.running.check --study "$(STUDY)"

report: | $(ENVIRONMENT) ## write the model card, the tables of README.md, and the site to build/<study>/report/
	"$(PY)" -m helpers.running.report card --study "$(STUDY)"
	"$(PY)" -m helpers.running.report readme
	"$(PY)" -m helpers.running.report pages --study "$(STUDY)"

verify: | $(ENVIRONMENT) ## run the study again in another folder, and say which published figures it reproduces
	@$(STEPS) run all $(OPTIONS) --into build/verify
	@rm -rf "build/verify/$(STUDY)" # so that the next run trains again; an interrupted one resumes
	"$(PY)" -m helpers.running.report verify --study "$(STUDY)" "build/verify/results/$(STUDY)"

test: | $(ENVIRONMENT) ## unit tests of the helpers, and the demo notebooks against their references
	@"$(PY)" -m helpers.running.suite

test-fast: | $(ENVIRONMENT) ## the unit tests that train nothing, in a minute and a half
	@"$(PY)" -m pytest tests -m "not slow" -n 2 --dist worksteal -q
	@echo "The fast tests passed. \`make test\` runs all tests, and the notebooks."

references: | $(ENVIRONMENT) ## run the demo notebooks again and save them as the references of `make test`
	@rm -rf build/references
	@$(STEPS) run all --study demo --into build/references
	"$(PY)" -m helpers.running.report references build/references/results/demo/notebooks

bench: | $(ENVIRONMENT) ## measure speed on this machine; tables in benchmarks/
	"$(PY)" benchmarks/throughput.py --study "$(STUDY)"
	$(if $(filter jax torch,$(KERAS_BACKEND)),,"$(PY)" benchmarks/devices.py)

export: | $(ENVIRONMENT) ## write the deployed model as ONNX and LiteRT, for other programs; needs requirements-export.txt
	"$(PY)" -m helpers.export --study "$(STUDY)"

demo-app: | $(ENVIRONMENT) ## a page in the browser to try the study's model
	"$(PY)" -m clinic.app --study "$(STUDY)" $(ARGS)

lab: | $(ENVIRONMENT) ## open the notebooks in JupyterLab
	"$(PY)" -m jupyterlab notebooks

clean: ## delete manifests, demo results, demo data and pixel caches; published results and downloads stay
	@"$(PY)" -m helpers.running.clean $(PATIENCE)

clean-trained: ## delete the trained networks of the study, and say how long they took to train
	@"$(PY)" -m helpers.running.clean --trained "$(STUDY)" $(PATIENCE)
