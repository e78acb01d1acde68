"""A thousand webhooks of clinics a minute, a hundred of them payments to be enriched, on the stack of `make run`.

The depth of the enrichment queue is looked at all the while. GATEHOUSE_BENCH_MINUTES changes the five minutes.
"""

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, quantiles
from typing import Any

from bench.figures import Figure
from gatehouse.aws import AwsClient
from local.child_process import CHECKOUT
from local.postgres import free_port
from local.send import post
from local.supervisor import RunOptions, Supervisor
from local.terminal import Terminal
from tests.support.postgres import run_sql
from tests.support.queues import CREDENTIALS
from tests.support.stack import erase

CLINICS = 20
WEBHOOKS_A_MINUTE = 1000
ENRICHED_A_MINUTE = 100
SECONDS_BETWEEN_LOOKS = 10
MOST_ENRICHED_SECONDS = 5.0
MOST_ANSWER_MILLISECONDS = 100.0
MOST_GROWTH = 20.0  # jobs that wait at the end more than at the beginning
SENDERS = 12
SETTLE_SECONDS = 30
TOKEN = "load" * 12
MERCHANT_ID = 6_000_000
HEADING = ("merchant", "environment", "merchant_id", "consumer_key", "consumer_secret", "token")

SALE = json.loads((CHECKOUT / "events" / "mx_merchant" / "PaymentSuccess.json").read_text())
DEPOSIT = json.loads((CHECKOUT / "events" / "mx_merchant" / "Deposit.json").read_text())


@dataclass
class Load:
    """What was seen while the load lasted."""

    answers: list[float] = field(default_factory=list)  # milliseconds
    refused: list[str] = field(default_factory=list)
    depths: list[tuple[float, int, int]] = field(default_factory=list)  # seconds, messages, jobs not done


def run() -> list[Figure]:
    """Start a stack, keep up the load, and tell how it went."""
    options = RunOptions(port=free_port(), folder=Path(tempfile.mkdtemp(prefix="gatehouse-bench-load-")))
    supervisor = Supervisor(options, Terminal(output=io.StringIO()))
    facts = supervisor.start()
    try:
        return measured(facts, float(os.environ.get("GATEHOUSE_BENCH_MINUTES", "5")))
    finally:
        supervisor.stop()
        erase(options)


def measured(facts: dict[str, Any], minutes: float, *, between_looks: float = SECONDS_BETWEEN_LOOKS) -> list[Figure]:
    """Keep up the load on a running stack for so long."""
    import_clinics(facts)
    load = kept_up(facts, minutes, between_looks)
    enriched = enriched_seconds(facts)
    print(f"  {len(load.answers)} webhooks in {minutes:g} minutes, {len(load.refused)} not taken {load.refused[:2]}")
    print("  queue depth (messages, jobs not done): " + ", ".join(f"{s:.0f} s: {m}, {j}" for s, m, j in load.depths))
    fifth = max(len(load.depths) // 5, 1)
    growth = mean(jobs for _, _, jobs in load.depths[-fifth:]) - mean(jobs for _, _, jobs in load.depths[:fifth])
    return [
        Figure("answer to a webhook, p95", quantiles(load.answers, n=20)[-1], "ms", limit=MOST_ANSWER_MILLISECONDS),
        Figure("webhooks not taken", len(load.refused), "webhooks", limit=0),
        Figure("webhooks a minute", len(load.answers) / minutes, "/min"),
        Figure("payments enriched, with invoice, of those told", enriched[1], "%"),
        Figure("from receipt to enriched, p95", enriched[0], "s", limit=MOST_ENRICHED_SECONDS),
        Figure("jobs that wait, last fifth less first", growth, "jobs", limit=MOST_GROWTH),
    ]


def import_clinics(facts: dict[str, Any]) -> None:
    """Make the clinics from a list, as ops do."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-clinics-") as folder:
        file = Path(folder) / "clinics.csv"
        with file.open("w", newline="") as stream:
            csv.writer(stream).writerows(
                [
                    HEADING,
                    *(
                        (f"c{n}", "sandbox", MERCHANT_ID + n, f"key{n}", "secret", f"{TOKEN}{n:02}")
                        for n in range(CLINICS)
                    ),
                ]
            )
        subprocess.run(
            [sys.executable, "-m", "cli.main", "merchants", "import", str(file)],
            cwd=CHECKOUT,
            env={"PATH": os.environ["PATH"], **facts["command_line"]},
            check=True,
            capture_output=True,
        )


def kept_up(facts: dict[str, Any], minutes: float, between_looks: float) -> Load:
    """Send at the rate, whatever comes back, and look at the queue."""
    load = Load()
    sqs = AwsClient("sqs", region="us-east-1", endpoint_url=facts["sqs_endpoint"], credentials=lambda: CREDENTIALS)
    total = int(minutes * WEBHOOKS_A_MINUTE)
    every = 60 / WEBHOOKS_A_MINUTE
    for number in range(-CLINICS, 0):  # the first of each is not counted: functions start, accounts become known
        send(facts, number, is_sale=False, load=Load())
    begun, looked = time.monotonic(), 0.0
    with ThreadPoolExecutor(SENDERS) as pool:
        sent: list[Future[None]] = []
        for number in range(total):
            ahead = begun + number * every - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            is_sale = number % (WEBHOOKS_A_MINUTE // ENRICHED_A_MINUTE) == 0
            sent.append(pool.submit(send, facts, number, is_sale=is_sale, load=load))
            passed = time.monotonic() - begun
            if passed - looked >= between_looks:
                looked = passed
                sent.append(pool.submit(look, facts, sqs, passed, load))
        for each in sent:
            each.result()
    deadline = time.monotonic() + SETTLE_SECONDS
    while waiting(facts) and time.monotonic() < deadline:
        time.sleep(0.5)
    sqs.close()
    load.depths.sort()
    return load


def send(facts: dict[str, Any], number: int, *, is_sale: bool, load: Load) -> None:
    """Send one event of one clinic and note how long its answer took."""
    clinic = number % CLINICS
    at = time.strftime("%b %d %Y %I:%M%p", time.gmtime())
    event = {**(SALE if is_sale else DEPOSIT), "merchantId": str(MERCHANT_ID + clinic), "transactionDate": at}
    event["id"] = str(5_000_000_000 + number)
    if is_sale:
        event |= {"invoiceNumber": f"{number}", "customerNumber": f"P{number}", "customer": "Pat Example"}
    url = f"{facts['api_url']}/webhooks/mx_merchant/c{clinic}/{TOKEN}{clinic:02}"
    begun = time.perf_counter()
    status, answer = post(url, json.dumps(event).encode(), {"Content-Type": "application/json"})
    load.answers.append((time.perf_counter() - begun) * 1000)
    if status != 200 or '"applied"' not in answer:
        load.refused.append(f"{status} {answer[:120]}")


def look(facts: dict[str, Any], sqs: AwsClient, passed: float, load: Load) -> None:
    """Note how many messages are in the enrichment queue, and how many of its jobs are not done."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    asked = {"QueueUrl": facts["queues"]["EnrichmentQueue"], "AttributeNames": names}
    found = sqs.call("GetQueueAttributes", asked, timeout_seconds=10)["Attributes"]
    load.depths.append((passed, sum(int(found[name]) for name in names), waiting(facts)))


def waiting(facts: dict[str, Any]) -> int:
    """Return how many jobs are not done."""
    question = "select count(*)::int from jobs where topic = 'refetch' and status in ('waiting', 'leased')"
    [[count]] = run_sql(facts["database_url"], question)
    return int(count)


def enriched_seconds(facts: dict[str, Any]) -> tuple[float, float]:
    """Return the p95 of the time from a payment's receipt to its invoice, and the share of payments that have it."""
    [[p95, told, done]] = run_sql(
        facts["database_url"],
        "select percentile_cont(0.95) within group (order by extract(epoch from enriched_at - received_at)::float8),"
        " count(*)::int, count(enriched_at)::int from (select e.received_at,"
        " max(j.finished_at) filter (where j.status = 'done' and j.arguments ->> 'kind' = 'invoice') as enriched_at"
        " from webhook_events e join jobs j on j.webhook_event_id = e.id and j.topic = 'refetch'"
        " where e.gateway = 'mx_merchant' and e.type = 'PaymentSuccess' group by e.id, e.received_at) as told",
    )
    return float(p95 or 1e9), 100 * done / max(told, 1)
