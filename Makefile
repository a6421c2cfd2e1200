# Everything starts here: `make rollout` is the main job, `make test` every check in its short form.
PYTHON ?= python3.11
VENV := .venv
UV := $(VENV)/bin/uv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TRAINING := $(VENV)/.installed-trl
PROMETHEUS := $(BIN)/promtool
SYNC := UV_PROJECT_ENVIRONMENT=$(VENV) UV_SYSTEM_CERTS=true UV_COMPILE_BYTECODE=true $(UV) sync --quiet --frozen --inexact
RUN = runs/quickstart-$(shell date -u +%Y%m%dT%H%M%S)

.PHONY: rollout test check soak bench baselines clean

rollout: $(STAMP)
	$(BIN)/assay rollout configs/quickstart.yaml --out $(RUN)

test: check $(PROMETHEUS)
	$(BIN)/pytest -n 2 --dist loadfile -m "not soak"

soak: $(STAMP) $(TRAINING) $(PROMETHEUS)
	$(BIN)/pytest -m soak --timeout=3600

check: $(STAMP) $(TRAINING)
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports > /dev/null || $(BIN)/lint-imports

bench: $(STAMP)
	$(SYNC) --extra bench
	$(BIN)/python benchmarks/rollout_throughput.py
	$(BIN)/python benchmarks/sandbox.py
	$(BIN)/python benchmarks/equivalence.py
	$(BIN)/python benchmarks/timing.py
	$(BIN)/python benchmarks/openenv_server.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/concurrency.py

baselines: $(STAMP)
	rm -rf runs/baselines
	$(BIN)/assay tasks oracle builtin runs/baselines/oracle.jsonl
	$(BIN)/assay evaluate configs/baselines.yaml --out runs/baselines/builtin
	$(BIN)/assay baselines publish runs/baselines/builtin docs/baselines
	$(BIN)/assay tasks oracle builtin-analyst runs/baselines/oracle-analyst.jsonl
	$(BIN)/assay evaluate configs/baselines-analyst.yaml --out runs/baselines/analyst
	$(BIN)/assay baselines publish runs/baselines/analyst docs/baselines

$(STAMP): pyproject.toml uv.lock requirements/uv.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-virtualenv -r requirements/uv.txt
	$(SYNC)
	touch $(STAMP)

$(TRAINING): $(STAMP) requirements/torch.txt requirements/train.txt requirements/trl.txt
	$(BIN)/python -m pip install --quiet -c requirements/torch.txt -r requirements/trl.txt
	touch $@

$(PROMETHEUS): requirements/prometheus.sh | $(STAMP)
	requirements/prometheus.sh $(BIN)
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
