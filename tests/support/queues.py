"""Queues on the moto server, and a look at what lies in them."""

import json
import secrets
from typing import Any

from gatehouse.aws import AwsClient
from gatehouse.jobs.bell import Bell
from gatehouse.settings import AwsCredentials

CREDENTIALS = AwsCredentials("testing", "testing")
NAMES = ("enrichment", "enrichment-dlq", "forwarding", "forwarding-dlq", "inbox", "inbox-dlq", "backup", "backup-dlq")


class Queues:
    """A set of queues of one test."""

    def __init__(self, endpoint: str) -> None:
        self.sqs = AwsClient("sqs", region="us-east-1", endpoint_url=endpoint, credentials=lambda: CREDENTIALS)
        prefix = secrets.token_hex(4)
        self.urls = {name: self._create(f"{prefix}-{name}") for name in NAMES}

    def bell(self, sqs: AwsClient | None = None) -> Bell:
        """Return a bell that rings in these queues; `sqs` stands another client in, such as one that cannot reach."""
        return Bell(
            sqs or self.sqs,
            queues={name: self.urls[name] for name in ("enrichment", "forwarding", "backup")},
            dead_letters={name: self.urls[f"{name}-dlq"] for name in ("enrichment", "forwarding")},
        )

    def take(self, name: str, *, seconds: int = 0) -> list[str]:
        """Receive and delete everything in a queue; return the bodies."""
        bodies: list[str] = []
        while True:
            answer = self._call("ReceiveMessage", name, MaxNumberOfMessages=10, WaitTimeSeconds=seconds)
            messages = answer.get("Messages", [])
            if not messages:
                return bodies
            for message in messages:
                bodies.append(message["Body"])
                self._call("DeleteMessage", name, ReceiptHandle=message["ReceiptHandle"])

    def receive(self, name: str, *, seconds: int = 0) -> dict[str, Any]:
        """Receive one batch, and return it as Lambda hands it over."""
        answer = self._call(
            "ReceiveMessage", name, MaxNumberOfMessages=10, WaitTimeSeconds=seconds, AttributeNames=["All"]
        )
        messages = answer.get("Messages", [])
        event = sqs_event(*(message["Body"] for message in messages))
        for record, message in zip(event["Records"], messages, strict=True):
            record |= {"receiptHandle": message["ReceiptHandle"], "attributes": message["Attributes"]}
        return event

    def take_json(self, name: str, *, seconds: int = 0) -> list[Any]:
        """Receive and delete everything in a queue; return the bodies parsed."""
        return [json.loads(body) for body in self.take(name, seconds=seconds)]

    def _create(self, name: str) -> str:
        request = {"QueueName": name, "Attributes": {"VisibilityTimeout": "120"}}
        url: str = self.sqs.call("CreateQueue", request, timeout_seconds=5)["QueueUrl"]
        return url

    def _call(self, action: str, name: str, **parameters: Any) -> dict[str, Any]:
        return self.sqs.call(action, {"QueueUrl": self.urls[name], **parameters}, timeout_seconds=30)


def sqs_event(*bodies: str) -> dict[str, Any]:
    """Return the event with which Lambda hands over a batch of messages."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": f"handle-{number}",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"},
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:queue",
                "awsRegion": "us-east-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def unreachable_sqs() -> AwsClient:
    """Return a client of an SQS that nobody answers for."""
    return AwsClient("sqs", region="us-east-1", endpoint_url="http://127.0.0.1:9", credentials=lambda: CREDENTIALS)
