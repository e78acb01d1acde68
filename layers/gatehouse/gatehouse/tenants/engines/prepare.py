"""Prepares a cluster for tenants, once and as its superuser: the role that makes them, and their template."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from gatehouse.database.direct_session import DirectSession, connect_direct
from gatehouse.database.sql import unnamed
from gatehouse.tenants.engines.plain import KEEPERS, TEMPLATE
from gatehouse.tenants.links import Safety
from gatehouse.tenants.names import literal, quoted
from gatehouse.tenants.passwords import verifier

CONNECT_MILLISECONDS = 5000


def prepare_cluster(superuser_address: str, maker: str, password: str, safety: Safety) -> None:
    """Make what is not there yet, and bring the template up to date. Safe to repeat."""
    with _session(superuser_address, safety) as session:
        for role, more in ((KEEPERS, "nologin"), (maker, f"login password {literal(verifier(password))}")):
            known = session.query(unnamed("select 1 as found from pg_roles where rolname = :role::text")(role=role))
            session.run(f"{'alter' if known else 'create'} role {quoted(role)} {more}")
        session.run(f"alter role {quoted(maker)} nosuperuser createdb createrole nobypassrls")
        session.run(f"grant {KEEPERS} to {quoted(maker)} with admin option")
        known = session.query(unnamed("select 1 as found from pg_database where datname = :name::text")(name=TEMPLATE))
        if not known:
            session.run(f"create database {TEMPLATE} template template0")
        session.run(f"alter database {TEMPLATE} with allow_connections true")
    parts = urlsplit(superuser_address)
    inside = urlunsplit(parts._replace(path=f"/{TEMPLATE}"))
    with _session(inside, safety) as session:
        session.run(Path(__file__).with_name("template_database.sql.template").read_text(encoding="utf-8"))
    with _session(superuser_address, safety) as session:
        # A template may be copied by whoever may create databases, and only while nobody is connected to it.
        session.run(f"alter database {TEMPLATE} with is_template true allow_connections false")


def _session(address: str, safety: Safety) -> DirectSession:
    return connect_direct(
        address,
        application="gatehouse tenants prepare",
        options={},
        connect_milliseconds=CONNECT_MILLISECONDS,
        tls=safety.tls,
        tls_root_file=safety.root_file,
    )
