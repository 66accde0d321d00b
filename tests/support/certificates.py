"""An authority of the test's own, and certificates that it signs, made with the `openssl` command."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

DAYS = "2"


def missing() -> str | None:
    """Why no certificates can be made here; None where they can."""
    return None if shutil.which("openssl") else "`openssl` is not on PATH"


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: the certificate, its key, and both in one file as Apache Kafka wants them."""

    certificate: Path
    key: Path
    both: Path


@dataclass(frozen=True)
class Authority:
    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "authority.pem"

    @classmethod
    def create(cls, directory: Path) -> Authority:
        directory.mkdir(parents=True, exist_ok=True)
        made = cls(directory)
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", DAYS),
            *("-subj", "/CN=Leadline test authority", "-keyout", directory / "authority.key", "-out", made.certificate),
        )
        return made

    def issue(self, name: str, *, names: str = "") -> Certificate:
        """A certificate with the common name `name`; `names` are those a server is called by: `IP:127.0.0.1`."""
        key, request, certificate = (self.directory / f"{name}.{end}" for end in ("key", "csr", "pem"))
        _openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", key, "-out", request),
        )
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={names}\n" if names else "basicConstraints=CA:FALSE\n")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.directory / "authority.key"),
            *("-CAcreateserial", "-days", DAYS, "-extfile", extensions, "-out", certificate),
        )
        key.chmod(0o600)
        both = self.directory / f"{name}.both.pem"
        both.write_text(key.read_text() + certificate.read_text())
        return Certificate(certificate, key, both)


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
