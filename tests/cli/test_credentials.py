"""Credentials as they are asked for, and as an account keeps them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.credentials import asked_for
from gatehouse.accounts import GatewayAccount
from gatehouse.errors import SettingError, SignatureRefused
from gatehouse.gateways import NAMES, gateway_named
from gatehouse.gateways.credentials import as_kept, held
from gatehouse.gateways.mx_merchant import CREDENTIALS, verify
from gatehouse.http_request import read_request

pytestmark = pytest.mark.req("G11", "G12", "O5")


@pytest.mark.parametrize("name", NAMES)
def test_one_credential_of_each_gateway_signs(name: str) -> None:
    assert [each.signs for each in gateway_named(name).CREDENTIALS].count(True) == 1


def test_what_is_made_here_is_long_enough_to_be_a_token(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps({"merchant_id": "418"}))
    given = asked_for(CREDENTIALS, file)
    assert len(given["token"]) >= 32
    assert as_kept(CREDENTIALS, given) == {"signing_secrets": [given["token"]], "merchant_id": "418"}


def test_an_hmac_that_was_asked_for_is_demanded_at_the_door(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    asked = {"merchant_id": "418", "hmac.header": "x-signature", "hmac.algorithm": "sha256", "hmac.secrets": "shared"}
    file.write_text(json.dumps(asked))
    kept = as_kept(CREDENTIALS, asked_for(CREDENTIALS, file))
    assert held(kept, "hmac.header") == "x-signature"
    assert held(kept, "consumer_key") is None
    token = kept.pop("signing_secrets")[0]
    account = GatewayAccount("mx_merchant", "418", "default", "test", (token,), kept)
    request = read_request({"pathParameters": {"token": token}, "body": '{"merchantId": "418"}'})
    with pytest.raises(SignatureRefused, match="x-signature"):
        verify(request, account, now=datetime.now(UTC))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"merchant_id": "418", "tokken": "x"}', "unknown: tokken"),
        ('{"merchant_id": 418}', "merchant_id must be a text"),
        ("{}", "merchant_id is missing"),
        ("[]", "not a JSON object"),
        ("whsec_not_json", "not JSON"),
    ],
)
def test_what_is_wrong_is_named_and_no_content_is_shown(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(content)
    with pytest.raises(SettingError, match=complaint) as refused:
        asked_for(CREDENTIALS, file)
    assert "whsec" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="No such file"):
        asked_for(CREDENTIALS, tmp_path / "missing.json")
