# What a user of the study types. `make help` lists it; README.md tells the story.

STUDY ?= demo
PYTHON ?= python3
REQUIREMENTS ?= requirements.txt
ARGS ?=
DATA_DIR ?=
export DATA_DIR
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))

NOTEBOOKS := $(basename $(notdir $(sort $(wildcard notebooks/*.ipynb))))
BUILD := build/$(STUDY)
RESULTS := results/$(STUDY)
DATASET = $(shell sed -n 's/^dataset: *//p' studies/$(STUDY).yaml)

# An environment that already has the packages (conda, a container) is used as it is; else .venv is made.
BACKEND := $(or $(KERAS_BACKEND),tensorflow)
NEEDED := $(BACKEND) keras papermill ipykernel pandas matplotlib seaborn sklearn imagehash pooch yaml
READY := $(shell $(PYTHON) -c "import sys; from importlib.util import find_spec; \
  sys.exit(not all(map(find_spec, '$(NEEDED)'.split())))" 2>/dev/null && echo yes)
PY := $(if $(READY),$(PYTHON),.venv/bin/python)
ENVIRONMENT := $(if $(READY),,.venv/ready)

.DELETE_ON_ERROR:
.SECONDEXPANSION:
.PHONY: help env python data all report test references bench lab clean force $(NOTEBOOKS)

help: ## list the commands
	@echo "make COMMAND [STUDY=demo|ham10000_cpu|…] [DATA_DIR=folder of the original files]"
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14
	@echo "One notebook, with parameters of your own:  make 03_cnn_baseline ARGS=\"-p epochs 5 -p learning_rate 3e-4\""
	@echo "Notebooks: $(NOTEBOOKS)"

env: $(ENVIRONMENT) ## make the Python environment (.venv), unless the packages are there already
	@echo "Python of this study: $$($(PY) -c 'import sys; print(sys.executable)')"

python: $(ENVIRONMENT)
	@echo $(PY)

.venv/ready: $(REQUIREMENTS)
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" || \
	  { echo "$(PYTHON) is not Python 3.11 to 3.13; name one that is: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --progress-bar on -r $(REQUIREMENTS)
	@touch $@

data: | $(ENVIRONMENT) ## fetch the study's dataset from its publisher into data/ (the demo's is drawn)
	$(if $(filter-out demo,$(DATASET)),$(PY) -m helpers.download $(DATASET) $(DATA_DIR:%=--folder "%"),\
	  $(PY) -c "from helpers.datasets import originals; print('Demo data:', originals('demo'))")

all: $(NOTEBOOKS:%=$(BUILD)/%.done) ## run every notebook of the study that is not up to date
	@echo "Study $(STUDY) is complete: figures and metrics are in $(RESULTS)/, the notebooks in $(RESULTS)/notebooks/."

$(NOTEBOOKS): %: $(BUILD)/%.done

# A stamp says that a notebook is finished. It is not the results' own time that counts: git sets that anew.
# With ARGS the notebook named on the command line always runs, and leaves no stamp: the next `make all` restores what
# the study file says.
mine = $(and $(ARGS),$(filter $*,$(MAKECMDGOALS)))
$(BUILD)/%.done: notebooks/%.ipynb studies/$(STUDY).yaml $(wildcard helpers/*.py) \
  $$(if $$(and $$(wildcard $(RESULTS)/notebooks/$$*.ipynb),$$(if $$(mine),,yes)),,force) | $(ENVIRONMENT)
	$(PY) -m helpers.runner $* --study $(STUDY) $(if $(mine),$(ARGS))
	@mkdir -p $(BUILD) && $(if $(mine),rm -f $@,touch $@)

# Which notebook reads what another one left.
$(BUILD)/01_eda.done $(BUILD)/02_preprocessing.done: $(BUILD)/data_dir $(wildcard $(DATA_DIR)/*.csv)
$(BUILD)/03_cnn_baseline.done: $(BUILD)/02_preprocessing.done
$(BUILD)/07_model_comparison.done: $(BUILD)/03_cnn_baseline.done

# Changes only when the folder of the original files does.
$(BUILD)/data_dir: force
	@mkdir -p $(BUILD) && echo '$(abspath $(DATA_DIR))' | cmp -s - $@ || echo '$(abspath $(DATA_DIR))' > $@

force:

report: all ## the executed notebooks as web pages in build/<study>/report/, and the tables of README.md
	$(PY) -m helpers.report pages --study $(STUDY)
	$(PY) -m helpers.report readme

test: | $(ENVIRONMENT) ## unit tests of the helpers, then the demo notebooks against their references
	$(PY) -m pytest tests --cov --cov-report=term --cov-fail-under=90 --durations=5
	RESULTS_DIR=build/test/results TF_CPP_MIN_LOG_LEVEL=3 $(PY) -m pytest --nbval-lax --durations=5 tests/references
	@echo "All tests passed."

references: | $(ENVIRONMENT) ## run the demo notebooks anew and make them the references of `make test`
	RESULTS_DIR=build/references/results $(MAKE) all STUDY=demo BUILD=build/references RESULTS=build/references/results/demo
	$(PY) -m helpers.report references build/references/results/demo/notebooks

bench: | $(ENVIRONMENT) ## measure speed on this machine; tables in benchmarks/
	$(PY) benchmarks/pixel_cache.py

lab: | $(ENVIRONMENT) ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab notebooks

clean: ## remove stamps, demo results, demo data and pixel caches; published results and downloads stay
	rm -rf build results/demo data/demo data/*/cache
