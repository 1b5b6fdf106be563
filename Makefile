# What a user of the study types. `make help` lists it; README.md tells the story.

STUDY ?= demo
PYTHON ?= python3
ARGS ?=
# Another choice of REQUIREMENTS makes the environment anew; without one, the present environment's stays.
REQUIREMENTS ?= $(or $(notdir $(basename $(wildcard .venv/*.ready))),requirements.txt)

ifeq ($(wildcard studies/$(STUDY).yaml),)
$(error There is no studies/$(STUDY).yaml. Known studies: $(basename $(notdir $(wildcard studies/*.yaml))))
endif
ifneq ($(and $(ARGS),$(filter all report,$(MAKECMDGOALS))),)
$(error ARGS are parameters of one notebook: name it, as in `make 03_cnn_baseline ARGS="$(ARGS)"`)
endif

NOTEBOOKS := $(basename $(notdir $(sort $(wildcard notebooks/*.ipynb))))
BUILD := build/$(STUDY)
RESULTS := results/$(STUDY)
DATASET := $(shell sed -n 's/^dataset: *//p' studies/$(STUDY).yaml)

# Where the originals are is remembered with the study's other stamps; the file changes only when the folder does.
DATA_DIR ?= $(shell cat $(BUILD)/data_dir 2>/dev/null)
export DATA_DIR
# What JAX compiled for the processor or GPU is kept, so that a second run starts at once.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/build/jax
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
REMEMBERED := $(shell mkdir -p $(BUILD); echo '$(DATA_DIR)' | cmp -s - $(BUILD)/data_dir || echo '$(DATA_DIR)' > $(BUILD)/data_dir)
ORIGINALS := $(or $(DATA_DIR),data/$(DATASET))

# An environment that already has the packages (conda, a container) is used as it is; else .venv is made.
ifeq ($(REQUIREMENTS),requirements-jax.txt)
export KERAS_BACKEND ?= jax
endif
BACKEND := $(or $(KERAS_BACKEND),tensorflow)
NEEDED := $(BACKEND) keras papermill ipykernel pandas matplotlib seaborn sklearn imagehash pooch yaml pydicom highdicom gdcm fhir
READY := $(shell $(PYTHON) -c "import sys; from importlib.util import find_spec; \
  sys.exit(not all(map(find_spec, '$(NEEDED)'.split())))" 2>/dev/null && echo yes)
PY := $(if $(READY),$(PYTHON),.venv/bin/python)
ENVIRONMENT := $(if $(READY),,.venv/$(REQUIREMENTS).ready)

.DELETE_ON_ERROR:
.SECONDEXPANSION:
.PHONY: help env python data all report verify test units references bench demo-app lab clean force $(NOTEBOOKS)

help: ## list the commands
	@echo "make COMMAND [STUDY=demo|ham10000_cpu|…] [DATA_DIR=folder of the original files]"
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14
	@echo "One notebook, with parameters of your own:  make 03_cnn_baseline ARGS=\"-p epochs 5 -p learning_rate 3e-4\""
	@echo "Notebooks: $(NOTEBOOKS)"

env: $(ENVIRONMENT) ## make the Python environment (.venv), unless the packages are there already
	@echo "Python of this study: $$($(PY) -c 'import sys; print(sys.executable)')"

python: $(ENVIRONMENT)
	@echo $(PY)

.venv/$(REQUIREMENTS).ready: $(REQUIREMENTS)
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" || \
	  { echo "$(PYTHON) is not Python 3.11 to 3.13; name one that is: make PYTHON=python3.11 …" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --progress-bar on -r $(REQUIREMENTS)
	@touch $@

data: | $(ENVIRONMENT) ## fetch the study's dataset from its publisher into data/ (the demo's is drawn)
	$(if $(filter-out demo,$(DATASET)),$(PY) -m helpers.data.download $(DATASET) $(DATA_DIR:%=--folder "%"),\
	  $(PY) -c "from helpers.data.lesions import originals; print('Demo data:', originals('demo'))")

# The demo's networks are so small that each keeps one core busy, and not all the time: three notebooks run at a time,
# once data and split are there. Make starts what is named first as soon as it may; so first come those that others wait
# for and the longest, lest one of them runs alone in the end.
JOBS ?= $(if $(filter demo,$(DATASET)),3,1)
FIRST := $(filter 01_% 02_%,$(NOTEBOOKS))
AWAITED := $(foreach number,03 05 04 11 09 10 06 08,$(filter $(number)_%,$(NOTEBOOKS)))
BY_WEIGHT := $(AWAITED) $(filter-out $(FIRST) $(AWAITED),$(NOTEBOOKS))
THEN = $(if $(filter 1,$(JOBS)),$(filter-out $(FIRST),$(NOTEBOOKS)),$(BY_WEIGHT))
all: | $(ENVIRONMENT) ## run every notebook of the study that is not up to date
	+@$(MAKE) --no-print-directory $(FIRST:%=$(BUILD)/%.done)
	+@$(MAKE) --no-print-directory -j $(JOBS) $(THEN:%=$(BUILD)/%.done)
	@echo "Study $(STUDY) is complete: figures and metrics are in $(RESULTS)/, the notebooks in $(RESULTS)/notebooks/."

$(NOTEBOOKS): %: $(BUILD)/%.done

# A stamp says that a notebook is finished. It is not the results' own time that counts: git sets that anew.
# With ARGS the notebook named on the command line always runs, and leaves no stamp: the next `make all` restores what
# the study file says. What a notebook left has to be there still: its executed copy, and for 02 the pixel cache.
mine = $(and $(ARGS),$(filter $*,$(MAKECMDGOALS)))
left = $(and $(wildcard $(RESULTS)/notebooks/$*.ipynb),$(if $(filter 02_%,$*),$(wildcard data/$(DATASET)/cache/*.npy),yes))
$(BUILD)/%.done: notebooks/%.ipynb studies/$(STUDY).yaml $(wildcard helpers/*.py helpers/*/*.py) \
  $$(if $$(and $$(left),$$(if $$(mine),,yes)),,force) | $(ENVIRONMENT)
	@rm -f $@
	$(PY) -m helpers.running.runner $* --study $(STUDY) $(if $(mine),$(ARGS))
	@$(if $(mine),true,touch $@)

# Which notebook reads what another one left.
TABLES := $(foreach pattern,HAM10000_metadata* ISIC_2019_Training_*.csv,$(wildcard $(ORIGINALS)/$(pattern)))
$(BUILD)/12_prediction.done: $(wildcard clinic/*.py clinic/*/*.py)
$(BUILD)/01_eda.done $(BUILD)/02_preprocessing.done: $(BUILD)/data_dir $(if $(filter demo,$(DATASET)),,$(TABLES))
# The tests go in the same order. $(1): folder of the stamps; $(2): their suffix.
MODELS := 03_cnn_baseline 04_cnn_lstm 05_mobilenet 06_augmentation
define reads
$(filter-out $(1)/01_% $(1)/02_%,$(NOTEBOOKS:%=$(1)/%.$(2))): $(1)/02_preprocessing.$(2)
$(1)/04_cnn_lstm.$(2) $(1)/05_mobilenet.$(2): $(1)/03_cnn_baseline.$(2)
$(1)/07_model_comparison.$(2): $(MODELS:%=$(1)/%.$(2))
$(1)/09_tuning.$(2): $(1)/04_cnn_lstm.$(2) $(1)/05_mobilenet.$(2)
$(1)/10_lesion_history.$(2) $(1)/13_unknown.$(2): $(1)/05_mobilenet.$(2)
$(1)/11_explanation.$(2): $(1)/03_cnn_baseline.$(2) $(1)/04_cnn_lstm.$(2) $(1)/05_mobilenet.$(2)
$(1)/12_prediction.$(2): $(1)/11_explanation.$(2)
endef
$(eval $(call reads,$(BUILD),done))
$(eval $(call reads,build/test,tested))

force:

report: | $(ENVIRONMENT) ## what was run as web pages in build/<study>/report/, its model card, the tables of README.md
	$(PY) -m helpers.running.report pages --study $(STUDY)
	$(if $(filter-out demo,$(DATASET)),$(PY) -m helpers.running.report card --study $(STUDY))
	$(PY) -m helpers.running.report readme

# A run beside the published one: its models are trained anew, and its results go elsewhere. One that was cut short goes
# on; of one that is complete the results stay, and the next trains anew.
FRESH := $(CURDIR)/build/verify
verify: | $(ENVIRONMENT) ## run the study anew, beside its results, and say which figures were reproduced
	BUILD_DIR=$(FRESH) RESULTS_DIR=$(FRESH)/results $(MAKE) all BUILD=build/verify/stamps/$(STUDY) RESULTS=build/verify/results/$(STUDY)
	@rm -rf build/verify/stamps/$(STUDY) $(FRESH)/$(STUDY)
	$(PY) -m helpers.running.report verify --study $(STUDY) $(FRESH)/results/$(STUDY)

# Unit tests and notebooks go side by side: each leaves a core idle now and then, and what one waits for another can do.
test: | $(ENVIRONMENT) ## unit tests of the helpers, and the demo notebooks against their references
	@rm -rf build/test && mkdir -p build/test
	@echo "The unit tests, and beside them the notebooks, two or three at a time: this takes some minutes ..."
	+@$(MAKE) -s -k -j 3 units $(patsubst %,build/test/%.tested,$(FIRST) $(BY_WEIGHT))
	@echo "All tests passed."

units:
	@$(PY) -m slipcover --source helpers,clinic --json --out build/coverage.json -m pytest tests -n 2 --dist worksteal --durations=5
	@$(PY) -m slipcover --merge build/coverage.json --out build/coverage.json --skip-covered --fail-under 90

# A demo notebook against its reference; what it prints is shown when it is done.
build/test/%.tested:
	@BUILD_DIR=$(CURDIR)/build/test RESULTS_DIR=$(CURDIR)/build/test/results TF_CPP_MIN_LOG_LEVEL=3 \
	  $(PY) -m pytest -p no:cacheprovider --nbval-lax --durations=3 tests/references/$*.ipynb > $@.log 2>&1 \
	  && tail -n 6 $@.log && touch $@ || { cat $@.log; false; }

references: | $(ENVIRONMENT) ## run the demo notebooks anew and make them the references of `make test`
	@rm -rf build/references
	BUILD_DIR=$(CURDIR)/build/references RESULTS_DIR=$(CURDIR)/build/references/results $(MAKE) all STUDY=demo BUILD=build/references RESULTS=build/references/results/demo
	$(PY) -m helpers.running.report references build/references/results/demo/notebooks

bench: | $(ENVIRONMENT) ## measure speed on this machine; tables in benchmarks/
	$(PY) benchmarks/pixel_cache.py
	$(PY) benchmarks/throughput.py --study $(STUDY)

demo-app: | $(ENVIRONMENT) ## a page in the browser to try the study's model; needs requirements-app.txt
	$(PY) -m clinic.app --study $(STUDY) $(ARGS)

lab: | $(ENVIRONMENT) ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab notebooks

clean: ## remove stamps, demo results, demo data and pixel caches; published results and downloads stay
	rm -rf build results/demo data/demo data/*/cache
