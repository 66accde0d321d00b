"""`make digests`: pin the images of others that docker-compose.yml names to what was pulled, as variables in `.env`.

A tag can be moved to another image, a digest cannot. Ours are not in the file: what a tag means is the registry's to say, and an
update of PostgreSQL is the owner's to take. Standard library only, as `deploy.env_file`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from deploy.env_file import write_values

COMPOSE = Path(__file__).parents[1] / "docker-compose.yml"
_IMAGE = re.compile(r"\$\{([A-Z_]+_IMAGE):-([^}@]+)\}")
_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


def images(compose: str) -> dict[str, str]:
    """Variable and tag of each image of others in the compose file."""
    return dict(_IMAGE.findall(compose))


def digest(image: str) -> str | None:
    """The image as `name@sha256:…`, as its registry knows it; None if it was not pulled here. Raises `OSError` without Docker."""
    done = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}", image],
        capture_output=True,
        text=True,
        check=False,
    )
    found = _DIGEST.findall(done.stdout)
    return found[0] if found else None


def main() -> int:
    found = {name: (tag, digest(tag)) for name, tag in images(COMPOSE.read_text(encoding="utf-8")).items()}
    if values := {name: pinned for name, (_, pinned) in found.items() if pinned}:
        write_values(Path(".env"), values)
    for name, (tag, pinned) in found.items():
        said = f"{name}={pinned}" if pinned else f"{name}: {tag} was not pulled from a registry: docker pull {tag}"
        sys.stdout.write(f"{said}\n")
    return 0 if all(pinned for _, pinned in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
