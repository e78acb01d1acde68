"""What lay in the queues when the last run ended, given back to the queues of this one.

A queue that CloudFormation names gets another name at each start, so `.local/queues.json` keeps which one was which.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from gatehouse.aws import AwsClient
from local.stack_file import write_private

MESSAGES = "messages.json"  # written by local/moto_server.py
QUEUES = "queues.json"


def give_back(folder: Path, queues: Mapping[str, str], sqs: AwsClient) -> int:
    """Send the kept messages to the queues of the same logical id; return how many there were."""
    count = 0
    if (folder / MESSAGES).exists() and (folder / QUEUES).exists():
        messages = json.loads((folder / MESSAGES).read_text())
        names: dict[str, str] = json.loads((folder / QUEUES).read_text())
        for logical_id, url in queues.items():
            for message in messages.get(names.get(logical_id, ""), []):
                request = {"QueueUrl": url, "MessageBody": message["body"], "MessageAttributes": message["attributes"]}
                sqs.call("SendMessage", request, timeout_seconds=10)
                count += 1
    forget(folder)
    write_private(folder / QUEUES, {logical_id: url.rpartition("/")[2] for logical_id, url in queues.items()})
    return count


def forget(folder: Path) -> None:
    """Keep nothing of what the queues held."""
    (folder / MESSAGES).unlink(missing_ok=True)
