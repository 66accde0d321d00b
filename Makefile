# Names for commands. What they do is in deploy/, shared/ and tests/. ARGS goes to pytest: make test ARGS="-k calendar"
.PHONY: demo test check bench crash faults teeth kafka migrate

demo: .venv/.ready
	@.venv/bin/leadline demo

test: .venv/.ready
	@.venv/bin/python -m pytest $(ARGS)

check: .venv/.ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/.ready
	@.venv/bin/python -m tests.bench $(ARGS)

# Kill a process at each of 27 points, SEEDS times; kill it twice, a third as often; write docs/crash-matrix.md
crash: .venv/.ready
	@.venv/bin/python -m tests.crash --seeds $(or $(SEEDS),10) $(ARGS)

# Broker and database away for a minute, a hundred commits whose answers are lost
faults: .venv/.ready
	@LEADLINE_FAULT_SECONDS=60 LEADLINE_FAULT_CUTS=100 .venv/bin/python -m pytest tests/crash/test_faults.py -v $(ARGS)

# Take each safeguard out of a copy of the tree: the test that guards it must fail
teeth: .venv/.ready
	@.venv/bin/python -m tests.crash.teeth $(ARGS)

kafka: .venv/.ready
	@.venv/bin/python -m deploy.kafka.kafka $(ARGS)

migrate: .venv/.ready
	@.venv/bin/python -m shared.db.migrate

.venv/.ready: requirements.lock pyproject.toml deploy/setup.sh
	@deploy/setup.sh
