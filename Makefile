# Two commands: `make run` (listen, or play the bundled recording) and `make test`.
# Each sets up what it needs by itself, and needs no network once that is in place.

PYTHON ?= python3
VENV := .venv
TEST_VENV := .venv-test
AUDIT_VENV := .venv-audit
AUDITORS := uv==0.13.9 pip-audit==2.10.1 bandit==1.9.4
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
RUN_PACKAGES := libportaudio2
RECOGNISER_PACKAGES := libfst-tools flite espeak-ng festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts
TEST_PACKAGES := libportaudio2 libasound2-plugins pulseaudio pulseaudio-utils libasound2-dev gcc libc6-dev \
	mosquitto mosquitto-clients openssl sox ffmpeg chromium $(RECOGNISER_PACKAGES)
PINS := constraints.txt requirements.lock setup/build.lock
SOURCES := $(shell git ls-files config stser_core monitor training 2>/dev/null)

.PHONY: run test lint types check recogniser bench fuzz soak text-model model figures audit lock dashboard dashboard-check clean

run: $(VENV)/installed
	@$(VENV)/bin/stser-monitor $(ARGS)

test: $(TEST_VENV)/installed check
	@$(ONE_THREAD) PYTHONASYNCIODEBUG=1 $(TEST_VENV)/bin/python -X dev -m pytest $(ARGS)

check: lint types
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory dashboard-check; fi

lint: $(TEST_VENV)/installed
	@$(TEST_VENV)/bin/ruff check . && $(TEST_VENV)/bin/ruff format --check .

types: $(TEST_VENV)/installed
	@$(TEST_VENV)/bin/mypy

# The page's sources are in dashboard/, what is built from them in monitor/dashboard/, so that running needs no Node.
dashboard: dashboard/node_modules/installed
	@cd dashboard && npm run --silent build

dashboard-check: dashboard/node_modules/installed
	@./setup/dashboard-check

dashboard/node_modules/installed: dashboard/package-lock.json
	@cd dashboard && npm ci --silent --no-audit --no-fund
	@touch $@

# The embedded recogniser from the corpora below $STSER_DATA, and its figures; goes on where it was stopped. The one in the
# package was taught: ARGS="--teacher WHISPER" (docs/teacher.md).
recogniser: $(TEST_VENV)/installed
	@./setup/packages $(RECOGNISER_PACKAGES)
	@$(ONE_THREAD) $(TEST_VENV)/bin/stser-train recogniser build $(ARGS)
	@$(ONE_THREAD) $(TEST_VENV)/bin/stser-train recogniser evaluate --out docs/results/recogniser.md

bench: $(TEST_VENV)/installed
	@$(ONE_THREAD) $(TEST_VENV)/bin/python -m bench $(ARGS)

# Mutated input against every parser and the port; the figures go to docs/results/fuzz.md.
fuzz: $(TEST_VENV)/installed
	@$(ONE_THREAD) $(TEST_VENV)/bin/python -m bench.fuzz --markdown $(ARGS)

# Hours of mixed audio with faults at many times real time; the report goes to docs/results/soak.md.
soak: $(TEST_VENV)/installed
	@$(ONE_THREAD) $(TEST_VENV)/bin/python -m bench.soak --markdown $(ARGS)

# The ALBERT of the text branch, from a teacher: runs/distil holds what `stser-train fit --albert ... --opinions ...` takes.
# ARGS="--root CORPORA" where STSER_DATA is not set.
text-model: $(TEST_VENV)/installed
	@$(ONE_THREAD) $(TEST_VENV)/bin/stser-train distil --out runs/distil $(ARGS) \
		--teacher $$(./setup/teacher $(TEST_VENV)/bin/python runs/teacher)

# The default weights (TAUGHT="--smodel FILE --hearing FILE --read FILE": with a teacher of the voice, docs/teacher.md): the ALBERT distilled,
# each corpus left out once to learn how sure one may be of a stranger, both branches trained, and exported.
model: text-model
	@$(ONE_THREAD) $(TEST_VENV)/bin/stser-train left-out $(CONFIG) $(TAUGHT) $(ARGS) >/dev/null
	@$(ONE_THREAD) $(TEST_VENV)/bin/stser-train fit --out stser_core/weights/stser-open $(CONFIG) \
		--albert runs/distil/albert --opinions runs/distil/opinions.safetensors \
		--strangers runs/left-out/left-out.json $(TAUGHT) $(ARGS)

CONFIG = --config config/train_$(if $(TAUGHT),taught,open).toml
# All figures of docs/results/training.md and the model card; goes on where it was stopped.
figures: $(TEST_VENV)/installed
	@for command in "crossval $(CONFIG) $(TAUGHT)" "left-out $(CONFIG) $(TAUGHT)" \
		"held-out $(CONFIG)" "robustness $(CONFIG)" baseline; do \
		$(ONE_THREAD) $(TEST_VENV)/bin/stser-train $$command $(ARGS) >/dev/null || exit; done
	@$(TEST_VENV)/bin/stser-train tables
	@$(ONE_THREAD) $(TEST_VENV)/bin/stser-train words --sentences 400 --out docs/results/words.md $(ARGS)

# Weak spots in the code, known vulnerabilities in what is installed. Needs a network; setup/audit tells the exit codes.
audit: $(AUDIT_VENV)/installed
	@./setup/audit $(AUDIT_VENV)/bin

# After a change of pyproject.toml or constraints.txt: the lock files again, with hashes.
lock: $(AUDIT_VENV)/installed
	@./setup/lock $(AUDIT_VENV)/bin/uv

# The stamp follows the sources, so that `make run` always runs what is checked out.
$(VENV)/installed: pyproject.toml $(PINS) $(SOURCES)
	@./setup/packages $(RUN_PACKAGES)
	@./setup/venv $(PYTHON) $(VENV) --no-deps --no-build-isolation .
	@touch $@

$(TEST_VENV)/installed: pyproject.toml $(PINS)
	@./setup/packages $(TEST_PACKAGES)
	@./setup/venv $(PYTHON) $(TEST_VENV) -e '.[train,test,bench]'
	@touch $@

$(AUDIT_VENV)/installed: constraints.txt
	@$(PYTHON) -m venv $(AUDIT_VENV)
	@$(AUDIT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(AUDITORS)
	@touch $@

clean:
	rm -rf $(VENV) $(TEST_VENV) $(AUDIT_VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
