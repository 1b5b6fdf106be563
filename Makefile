# The commands of the study. `make help` lists them; README.md explains them.

STUDY ?= demo
PYTHON ?= python3
ARGS ?=
NOTEBOOKS := $(basename $(notdir $(sort $(wildcard notebooks/*.ipynb))))
BUILD := build/$(STUDY)
RESULTS := results/$(STUDY)

ifeq ($(wildcard studies/$(STUDY).yaml),)
$(error There is no studies/$(STUDY).yaml. Known studies: $(basename $(notdir $(wildcard studies/*.yaml))))
endif
ifneq ($(and $(ARGS),$(filter all report,$(MAKECMDGOALS))),)
$(error ARGS are parameters of one notebook: name it, as in `make 03_cnn_baseline ARGS="$(ARGS)"`)
endif

DATASET := $(shell sed -n 's/^dataset: *//p' studies/$(STUDY).yaml)
# build/<study>/data_dir stores the folder of the original files. It is written again only if the folder changes.
DATA_DIR ?= $(shell cat $(BUILD)/data_dir 2>/dev/null)
REMEMBERED := $(shell mkdir -p $(BUILD); echo '$(DATA_DIR)' | cmp -s - $(BUILD)/data_dir || echo '$(DATA_DIR)' > $(BUILD)/data_dir)
export DATA_DIR
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
# Keep what JAX has compiled, so that a second run starts at once.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/build/jax

# PYTHON is used if it has all packages (conda, a container). Otherwise .venv is created, and created again if
# REQUIREMENTS changes.
REQUIREMENTS ?= $(or $(notdir $(basename $(wildcard .venv/*.ready))),requirements.txt)
ifeq ($(REQUIREMENTS),requirements-jax.txt)
export KERAS_BACKEND ?= jax
endif
NEEDED := $(or $(KERAS_BACKEND),tensorflow) keras papermill ipykernel pandas matplotlib seaborn sklearn imagehash pooch yaml \
  pydicom highdicom gdcm fhir
READY := $(shell $(PYTHON) -c "import sys; from importlib.util import find_spec; \
  sys.exit(not all(map(find_spec, '$(NEEDED)'.split())))" 2>/dev/null && echo yes)
PY := $(if $(READY),$(PYTHON),.venv/bin/python)
ENVIRONMENT := $(if $(READY),,.venv/$(REQUIREMENTS).ready)

.DELETE_ON_ERROR:
.SECONDEXPANSION:
.PHONY: help env python data all report verify test test-fast units references bench demo-app lab clean force $(NOTEBOOKS)

help: ## list the commands
	@echo "make COMMAND [STUDY=demo|ham10000_cpu|…] [DATA_DIR=folder of the original files]"
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14
	@echo "One notebook, with parameters of your own:  make 03_cnn_baseline ARGS=\"-p epochs 5 -p learning_rate 3e-4\""
	@echo "Notebooks: $(NOTEBOOKS)"

env: $(ENVIRONMENT) ## create the Python environment (.venv), unless all packages are installed already
	@echo "Python of this study: $$($(PY) -c 'import sys; print(sys.executable)')"

python: $(ENVIRONMENT)
	@echo $(PY)

.venv/$(REQUIREMENTS).ready: $(REQUIREMENTS)
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" || \
	  { echo "$(PYTHON) is not Python 3.11 to 3.13. Name one that is: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --progress-bar on -r $(REQUIREMENTS)
	@touch $@

DRAW = $(PY) -c "from helpers.data.lesions import originals_folder; print('Demo data:', originals_folder('demo'))"
data: | $(ENVIRONMENT) ## download the study's dataset from its publisher into data/ (the demo's is generated)
	$(if $(filter-out demo,$(DATASET)),$(PY) -m helpers.data.download $(DATASET) $(DATA_DIR:%=--folder "%"),$(DRAW))

# The demo runs three notebooks at a time, since each uses about one core. Those that others wait for start first, then
# the longest. The demo's images are generated before.
JOBS ?= $(if $(filter demo,$(DATASET)),3,1)
FIRST := 01_eda 02_preprocessing
EARLY := 03_cnn_baseline 05_mobilenet 04_cnn_lstm 11_explanation 09_tuning 10_lesion_history 06_augmentation 08_leakage
ORDER := 02_preprocessing $(EARLY) 01_eda $(filter-out $(FIRST) $(EARLY),$(NOTEBOOKS))
all: | $(ENVIRONMENT) ## run every notebook of the study that is not up to date
	$(if $(filter demo,$(DATASET)),@$(DRAW))
	+@$(MAKE) --no-print-directory -j $(JOBS) $(patsubst %,$(BUILD)/%.done,$(if $(filter 1,$(JOBS)),$(NOTEBOOKS),$(ORDER)))
	@echo "Study $(STUDY) is complete: figures and metrics are in $(RESULTS)/, the notebooks in $(RESULTS)/notebooks/."

# The notebooks whose results each one reads, besides 02_preprocessing.
04_cnn_lstm.reads := 03_cnn_baseline
05_mobilenet.reads := 03_cnn_baseline
07_model_comparison.reads := 03_cnn_baseline 04_cnn_lstm 05_mobilenet 06_augmentation
09_tuning.reads := 04_cnn_lstm 05_mobilenet
10_lesion_history.reads := 05_mobilenet
11_explanation.reads := 03_cnn_baseline 04_cnn_lstm 05_mobilenet
12_prediction.reads := 03_cnn_baseline 04_cnn_lstm 05_mobilenet
13_unknown.reads := 05_mobilenet
reads = $(addprefix $(1)/,$(addsuffix $(2),$(if $(filter $(FIRST),$*),,02_preprocessing $($*.reads))))

$(NOTEBOOKS): %: $(BUILD)/%.done

# An empty file <notebook>.done marks a finished notebook, since git does not keep the modification times of results.
# The notebook runs again if its executed copy or, for 02, the pixel cache is missing. With ARGS, the notebook named on
# the command line always runs and is not marked, so that the next `make all` restores the study's own values.
varied = $(and $(ARGS),$(filter $*,$(MAKECMDGOALS)))
intact = $(and $(wildcard $(RESULTS)/notebooks/$*.ipynb),$(if $(filter 02_%,$*),$(wildcard data/$(DATASET)/cache/*.npy),yes))
$(BUILD)/%.done: notebooks/%.ipynb studies/$(STUDY).yaml $(wildcard helpers/*.py helpers/*/*.py) \
  $$(call reads,$(BUILD),.done) $$(if $$(varied),force,$$(if $$(intact),,force)) | $(ENVIRONMENT)
	@rm -f $@
	$(PY) -m helpers.running.runner $* --study $(STUDY) $(if $(varied),$(ARGS))
	@$(if $(varied),true,touch $@)

TABLES := $(wildcard $(addprefix $(or $(DATA_DIR),data/$(DATASET))/,HAM10000_metadata* ISIC_2019_Training_*.csv))
$(FIRST:%=$(BUILD)/%.done): $(BUILD)/data_dir $(if $(filter demo,$(DATASET)),,$(TABLES))
$(BUILD)/12_prediction.done: $(wildcard clinic/*.py clinic/*/*.py)
force:

report: | $(ENVIRONMENT) ## write web pages to build/<study>/report/, the model card, and the tables of README.md
	$(PY) -m helpers.running.report pages --study $(STUDY)
	$(if $(filter-out demo,$(DATASET)),$(PY) -m helpers.running.report card --study $(STUDY))
	$(PY) -m helpers.running.report readme

# $(call anew,STUDY,FOLDER) runs a whole study in another folder, beside the published results.
anew = BUILD_DIR=$(CURDIR)/$(2) RESULTS_DIR=$(CURDIR)/$(2)/results $(MAKE) all STUDY=$(1) BUILD=$(2)/stamps/$(1) RESULTS=$(2)/results/$(1)

verify: | $(ENVIRONMENT) ## run the study again in another folder, and say which published figures it reproduces
	$(call anew,$(STUDY),build/verify)
	@rm -rf build/verify/stamps/$(STUDY) build/verify/$(STUDY) # so that the next run trains again; an interrupted one resumes
	$(PY) -m helpers.running.report verify --study $(STUDY) build/verify/results/$(STUDY)

test: | $(ENVIRONMENT) ## unit tests of the helpers, and the demo notebooks against their references
	@rm -rf build/test && mkdir -p build/test
	@echo "Running the unit tests and, at the same time, two or three notebooks: this takes some minutes ..."
	@$(DRAW)
	+@$(MAKE) -s -k -j 3 units $(ORDER:%=build/test/%.tested)
	@echo "All tests passed."

test-fast: | $(ENVIRONMENT) ## the unit tests that train nothing, in a minute and a half
	@$(PY) -m pytest tests -m "not slow" -n 2 --dist worksteal -q
	@echo "The fast tests passed. \`make test\` runs all tests, and the notebooks."

units:
	@$(PY) -m slipcover --source helpers,clinic --json --out build/coverage.json -m pytest tests -n 2 --dist worksteal --durations=5
	@$(PY) -m slipcover --merge build/coverage.json --out build/coverage.json --skip-covered --fail-under 95

# Compare a demo notebook with its reference. Its output is shown when it has finished.
build/test/%.tested: $$(call reads,build/test,.tested)
	@BUILD_DIR=$(CURDIR)/build/test RESULTS_DIR=$(CURDIR)/build/test/results TF_CPP_MIN_LOG_LEVEL=3 TQDM_DISABLE=1 \
	  $(PY) -m pytest -p no:cacheprovider --nbval-lax --durations=3 tests/references/$*.ipynb > $@.log 2>&1 \
	  && tail -n 6 $@.log && touch $@ || { cat $@.log; false; }

references: | $(ENVIRONMENT) ## run the demo notebooks again and save them as the references of `make test`
	@rm -rf build/references
	$(call anew,demo,build/references)
	$(PY) -m helpers.running.report references build/references/results/demo/notebooks

bench: | $(ENVIRONMENT) ## measure speed on this machine; tables in benchmarks/
	$(PY) benchmarks/pixel_cache.py
	$(PY) benchmarks/throughput.py --study $(STUDY)
	$(if $(filter tensorflow,$(BACKEND)),$(PY) benchmarks/devices.py)

demo-app: | $(ENVIRONMENT) ## a page in the browser to try the study's model
	$(PY) -m clinic.app --study $(STUDY) $(ARGS)

lab: | $(ENVIRONMENT) ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab notebooks

clean: ## remove stamps, demo results, demo data and pixel caches; published results and downloads stay
	rm -rf build results/demo data/demo data/*/cache
