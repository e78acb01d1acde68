"""TLS is verified: who cannot prove to be the server gets no password."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gatehouse.errors import ConnectionError, SettingError
from local.postgres import PostgresServer
from tests.conftest import DatabaseOpener
from tests.support.tls import Authority, TlsProxy, new_authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def front(postgres_server: PostgresServer, authority: Authority) -> Iterator[TlsProxy]:
    with TlsProxy(postgres_server.port, authority.server_context("localhost")) as proxy:
        yield proxy


def _address(server: PostgresServer, proxy: TlsProxy, host: str = "localhost") -> str:
    return server.url().replace(f"127.0.0.1:{server.port}", f"{host}:{proxy.port}")


@pytest.mark.req("P11")
def test_the_right_server_is_accepted(
    postgres_server: PostgresServer, front: TlsProxy, authority: Authority, open_database: DatabaseOpener
) -> None:
    address = _address(postgres_server, front)
    database = open_database(address, tls="verify", tls_root_file=str(authority.root_file))
    assert database.query("SELECT 1 AS one") == [{"one": 1}]
    blob = b"\0" * 300_000
    assert database.query_one("SELECT :blob::bytea AS blob", blob=blob) == {"blob": blob}
    assert database.statistics.connects == 1


@pytest.mark.req("P11")
def test_a_certificate_for_an_ip_address_is_accepted_for_that_address(
    postgres_server: PostgresServer, authority: Authority, open_database: DatabaseOpener
) -> None:
    with TlsProxy(postgres_server.port, authority.server_context("127.0.0.1")) as proxy:
        address = _address(postgres_server, proxy, "127.0.0.1")
        database = open_database(address, tls="verify", tls_root_file=str(authority.root_file))
        assert database.query("SELECT 1 AS one") == [{"one": 1}]
        database.close()


@pytest.mark.req("P11")
def test_a_server_with_another_name_is_refused(
    postgres_server: PostgresServer, front: TlsProxy, authority: Authority, open_database: DatabaseOpener
) -> None:
    address = _address(postgres_server, front, "127.0.0.1")
    with pytest.raises(ConnectionError, match=r"IP address mismatch, certificate is not valid for '127.0.0.1'"):
        open_database(address, tls="verify", tls_root_file=str(authority.root_file)).query("SELECT 1")


@pytest.mark.req("P11")
@pytest.mark.parametrize("trusts", ["the system's roots", "another authority"])
def test_a_certificate_of_an_unknown_authority_is_refused(
    trusts: str, postgres_server: PostgresServer, front: TlsProxy, tmp_path: Path, open_database: DatabaseOpener
) -> None:
    root_file = str(new_authority(tmp_path).root_file) if trusts == "another authority" else ""
    with pytest.raises(ConnectionError, match=r"unable to get local issuer certificate|certificate signature failure"):
        open_database(_address(postgres_server, front), tls="verify", tls_root_file=root_file).query("SELECT 1")


@pytest.mark.req("P11")
def test_a_server_that_offers_no_tls_is_refused_and_told_nothing(
    postgres_server: PostgresServer, open_database: DatabaseOpener
) -> None:
    with TlsProxy(postgres_server.port, None) as proxy:
        with pytest.raises(ConnectionError, match=r"localhost:.* offers no TLS"):
            open_database(_address(postgres_server, proxy), tls="verify").query("SELECT 1")
        proxy.finish()
        assert proxy.plain_bytes == 0


def test_a_root_file_that_is_missing_is_named(postgres_server: PostgresServer, open_database: DatabaseOpener) -> None:
    with pytest.raises(SettingError, match=r"no_such_file\.pem, is unusable: No such file"):
        open_database(postgres_server.url(), tls="verify", tls_root_file="/no_such_file.pem").query("SELECT 1")
