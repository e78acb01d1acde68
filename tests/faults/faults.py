"""Every fault there is, each as a block in which it holds; its end brings back what it took away."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from random import Random

from tests.faults.ground import Ground
from tests.faults.proxies import SteeredProxy
from tests.faults.sender import StripeSender
from tests.faults.stream import StripeEvent, chance, delivered
from tests.support.proxies import TO_CLIENT, TO_SERVER

FaultBlock = Callable[[Ground, Random], AbstractContextManager[None]]

CLIENTS = 4
TWO_AT_ONCE = 0.3  # of the faults have another one in their middle
CONSUMERS = ("inbox_replayer", "invoice_enricher", "job_sweeper")
# A login is about 30 messages, a flush 5 there and 6 back.
MOST_MESSAGES = {TO_SERVER: 9, TO_CLIENT: 32}
LONGEST_REPEAT_SECONDS = 90.0


def kill(ground: Ground, function: str) -> None:
    """Kill the processes of a function; it counts as a fault when there were any."""
    if ground.kill(function):
        ground.faults[f"{function} killed"] += 1


@contextmanager
def nothing_else(_ground: Ground, _random: Random) -> Iterator[None]:
    """Leave it at one fault."""
    yield


# --- functions killed -------------------------------------------------------------------------------------------------


@contextmanager
def webhook_killed(ground: Ground, random: Random) -> Iterator[None]:
    """Kill the webhook function at moments that nothing chooses."""
    for _ in range(3):
        kill(ground, "stripe_webhook")
        time.sleep(random.uniform(0.1, 0.6))
    yield


@contextmanager
def consumers_killed(ground: Ground, random: Random) -> Iterator[None]:
    """Kill the functions behind the queues."""
    for _ in range(3):
        kill(ground, random.choice(CONSUMERS))
        time.sleep(random.uniform(0.1, 0.4))
    yield


@contextmanager
def webhook_killed_in_the_flush(ground: Ground, random: Random) -> Iterator[None]:
    """Kill the webhook function when a certain message of its conversation with Postgres passes."""
    with _struck(ground.intake_link, random, lambda: kill(ground, "stripe_webhook")):
        yield


@contextmanager
def enricher_killed_in_the_flush(ground: Ground, random: Random) -> Iterator[None]:
    """Kill the function that fetches fees when a certain message of its conversation with Postgres passes."""
    with _struck(ground.worker_link, random, lambda: kill(ground, "invoice_enricher")):
        ground.let_time_pass()
        ground.sweep()
        yield


@contextmanager
def webhook_killed_at_the_bell(ground: Ground, random: Random) -> Iterator[None]:
    """Kill the webhook function before or after SQS has its message."""
    direction = random.choice((TO_SERVER, TO_CLIENT))
    ground.sqs_link.strike_at(direction, 0, lambda: kill(ground, "stripe_webhook"))
    yield
    ground.sqs_link.disarm()


# --- the network ------------------------------------------------------------------------------------------------------


@contextmanager
def intake_cut(ground: Ground, random: Random) -> Iterator[None]:
    """Cut the webhook function off at a certain message, twice in a row."""
    with _struck(ground.intake_link, random, lambda: _count(ground, "intake cut")):
        yield


@contextmanager
def worker_cut(ground: Ground, random: Random) -> Iterator[None]:
    """Cut the workers off at a certain message, twice in a row."""
    with _struck(ground.worker_link, random, lambda: _count(ground, "worker cut")):
        ground.let_time_pass()
        ground.sweep()
        yield


@contextmanager
def server_cut(ground: Ground, random: Random) -> Iterator[None]:
    """Cut the pooler off from Postgres at a certain message, twice in a row."""
    with _struck(ground.server_link, random, lambda: _count(ground, "server cut")):
        yield


@contextmanager
def network_away(ground: Ground, _random: Random) -> Iterator[None]:
    """Let nobody reach Postgres."""
    _count(ground, "network away")
    ground.intake_link.refuse()
    ground.worker_link.refuse()
    yield
    ground.intake_link.heal()
    ground.worker_link.heal()


@contextmanager
def network_silent(ground: Ground, random: Random) -> Iterator[None]:
    """Swallow what is sent, what is answered, or both, and deliver it late."""
    _count(ground, "network silent")
    directions = random.choice(((TO_SERVER,), (TO_CLIENT,), (TO_SERVER, TO_CLIENT)))
    ground.intake_link.hold(*directions)
    ground.worker_link.hold(*directions)
    yield
    ground.intake_link.let_go()
    ground.worker_link.let_go()


# --- Postgres and its pooler ------------------------------------------------------------------------------------------


@contextmanager
def postgres_stopped(ground: Ground, _random: Random) -> Iterator[None]:
    """Stop Postgres in order, which says goodbye to everybody."""
    _count(ground, "Postgres stopped")
    ground.server.stop("fast")
    yield
    ground.server.start()


@contextmanager
def postgres_killed(ground: Ground, _random: Random) -> Iterator[None]:
    """Stop Postgres as a power cut would; it recovers from its log."""
    _count(ground, "Postgres killed")
    ground.server.stop("immediate")
    yield
    ground.server.start()


@contextmanager
def backend_killed(ground: Ground, random: Random) -> Iterator[None]:
    """Kill one server process, as the kernel does when memory is short; Postgres ends all others too and recovers."""
    rows = ground.under_faults.sql("select pid from pg_stat_activity where usename like 'gatehouse%'")
    if rows:
        _count(ground, "backend killed")
        os.kill(random.choice(rows)[0], signal.SIGKILL)
    yield


@contextmanager
def pooler_restarted(ground: Ground, _random: Random) -> Iterator[None]:
    """Kill PgBouncer and start it anew."""
    _count(ground, "pooler restarted")
    ground.restart_pooler()
    yield


# --- AWS --------------------------------------------------------------------------------------------------------------


@contextmanager
def sqs_away(ground: Ground, _random: Random) -> Iterator[None]:
    """Refuse every connection to SQS."""
    _count(ground, "SQS away")
    ground.sqs_link.refuse()
    yield
    ground.sqs_link.heal()


@contextmanager
def sqs_silent(ground: Ground, _random: Random) -> Iterator[None]:
    """Let SQS answer late, far beyond what a webhook waits for."""
    _count(ground, "SQS silent")
    ground.sqs_link.hold()
    yield
    ground.sqs_link.let_go()


@contextmanager
def sqs_failing(ground: Ground, _random: Random) -> Iterator[None]:
    """Let SQS answer 500."""
    _count(ground, "SQS failing")
    ground.sqs_link.fail()
    yield
    ground.sqs_link.heal()


@contextmanager
def secrets_away(ground: Ground, _random: Random) -> Iterator[None]:
    """Refuse every connection to Secrets Manager."""
    _count(ground, "Secrets Manager away")
    ground.secrets_link.refuse()
    yield
    ground.secrets_link.heal()


# --- two at once ------------------------------------------------------------------------------------------------------


@contextmanager
def postgres_and_sqs_away(ground: Ground, random: Random) -> Iterator[None]:
    """Leave the webhook function nowhere to put an event."""
    with postgres_killed(ground, random), sqs_away(ground, random):
        yield


@contextmanager
def postgres_away_and_webhook_killed_at_the_inbox(ground: Ground, random: Random) -> Iterator[None]:
    """Kill the webhook function before or after SQS has the event that Postgres cannot take."""
    with network_away(ground, random), webhook_killed_at_the_bell(ground, random):
        yield


@contextmanager
def secrets_away_and_webhook_killed(ground: Ground, random: Random) -> Iterator[None]:
    """Start the webhook function while it cannot learn its secrets."""
    with secrets_away(ground, random), webhook_killed(ground, random):
        yield


FAULTS: tuple[FaultBlock, ...] = (
    webhook_killed,
    consumers_killed,
    webhook_killed_in_the_flush,
    enricher_killed_in_the_flush,
    webhook_killed_at_the_bell,
    intake_cut,
    worker_cut,
    server_cut,
    network_away,
    network_silent,
    postgres_stopped,
    postgres_killed,
    backend_killed,
    pooler_restarted,
    sqs_away,
    sqs_silent,
    sqs_failing,
    secrets_away,
    postgres_and_sqs_away,
    postgres_away_and_webhook_killed_at_the_inbox,
    secrets_away_and_webhook_killed,
)

# What may happen in the middle of another fault.
BESIDE: tuple[FaultBlock, ...] = (webhook_killed_in_the_flush, webhook_killed_at_the_bell, intake_cut)


def storm(
    ground: Ground, events: list[StripeEvent], *, seconds: float, longest_fault_seconds: float, random: Random
) -> StripeSender:
    """Send events for so many seconds while one fault follows the other, each at least once; return the sender."""
    ground.will_send(events)
    deliveries = delivered(events, seconds, random)
    with ground.door() as url, ground.consumers():
        sender = StripeSender(url, deliveries, clients=CLIENTS, random=chance(random.getrandbits(32)))
        try:
            ends = time.monotonic() + seconds
            for number, fault in enumerate(_one_after_the_other(random)):
                if number >= len(FAULTS) and time.monotonic() > ends:
                    break
                beside = random.choice(BESIDE) if random.random() < TWO_AT_ONCE else nothing_else
                with fault(ground, random), beside(ground, random):
                    time.sleep(random.uniform(0.1, longest_fault_seconds))
                ground.heal()
                time.sleep(random.uniform(0.05, 0.2))
        finally:
            ground.heal()
            sender.wait(LONGEST_REPEAT_SECONDS)
    ground.acknowledged |= sender.acknowledged
    return sender


def _one_after_the_other(random: Random) -> Iterator[FaultBlock]:
    while True:
        yield from random.sample(FAULTS, len(FAULTS))


@contextmanager
def _struck(link: SteeredProxy, random: Random, blow: Callable[[], None]) -> Iterator[None]:
    """Strike twice at a message that chance chooses, of a login or a flush."""
    direction = random.choice((TO_SERVER, TO_CLIENT))
    if random.random() < 0.5:
        link.cut_all()  # so that the next conversation begins with its login
    link.strike_at(direction, random.randrange(MOST_MESSAGES[direction]), blow, times=2)
    yield
    link.disarm()


def _count(ground: Ground, name: str) -> None:
    ground.faults[name] += 1
