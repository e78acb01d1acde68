"""What the stand-in for PayPal's API answers."""

from typing import Any

from local.gateway_apis import ApiAnswer, ApiRequest


class PaypalApi:
    """The certificate under which this machine's PayPal signs; nothing else is asked of it."""

    name = "paypal"
    CERTIFICATE_PATH = "/v1/notifications/certs/CERT-of-this-machine"

    def __init__(self, certificate_pem: str) -> None:
        self._certificate_pem = certificate_pem

    def learn(self, event_body: bytes) -> None:
        """Keep nothing: it is not asked for payments."""

    def remember(self, thing: dict[str, Any]) -> None:
        """Keep nothing, as above."""

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer GET of the certificate."""
        if (request.method, request.path) == ("GET", self.CERTIFICATE_PATH):
            return ApiAnswer(200, self._certificate_pem, {"Content-Type": "application/x-pem-file"})
        return ApiAnswer(404, {"name": "RESOURCE_NOT_FOUND", "message": "The specified resource does not exist."})

    def refusal(self, status: int) -> ApiAnswer:
        """Return PayPal's words for 401, 429 and 500."""
        names = {401: "AUTHENTICATION_FAILURE", 429: "RATE_LIMIT_REACHED"}
        return ApiAnswer(status, {"name": names.get(status, "INTERNAL_SERVER_ERROR"), "debug_id": "of this machine"})
