# One command each, from a fresh clone: the first sets up .venv, later ones download nothing.
#
#   make demo [ARGS="--dataset DIR --blocks 2"]   the whole system on this machine
#   make test [ARGS="-k guard"]                   checks, then every test against a real Kafka
#   make check                                    style, types, direction of imports, documentation
#   make docs                                     the documentation, in build/site
#   make fuzz [ARGS="--minutes 1 --seed 7"]       ten minutes of broken clicks for every decoder
#   make fuzz-streams [ARGS="--events 10000"]     a million events against the plain reference

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install --constraint deploy/constraints.txt
INSTALLED := .venv/.installed

.PHONY: demo test check docs fuzz fuzz-streams

demo: $(INSTALLED)
	$(BIN)/ader-stream demo $(ARGS)

# Most tests wait for Kafka: four files at a time keep two cores busy, first those that wait most
# (in the order of their names, not of their number of tests). Threads of two trainings would slow
# each other, and so would what Java compiles once more for brokers of a few minutes.
test: export OMP_NUM_THREADS ?= 1
test: export JAVA_TOOL_OPTIONS ?= -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
test: check
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.property.fuzz $(ARGS)

fuzz-streams: $(INSTALLED)
	$(BIN)/python -m tests.property.stream_fuzz $(ARGS)

# A link or an anchor that leads nowhere is an error.
docs: export NO_MKDOCS_2_WARNING = 1
docs: $(INSTALLED)
	$(BIN)/mkdocs build --quiet --strict --config-file .mkdocs.yml

check: docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The build tools come first, pinned like the rest, instead of into a build folder of their own.
$(INSTALLED): pyproject.toml deploy/constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation --editable ".[all,dev]"
	touch $@
