"""What each report means, in the words that stand in its answers and in docs/reports.md."""

from typing import NamedTuple


class Definition(NamedTuple):
    """A report: its sentence for lists, and what exactly it counts."""

    title: str
    text: str


OF_REAL_MONEY = "Test mode is never in the figures of real money, nor one currency in those of another."
REVENUE = (
    "Gross: what came in by payments that are completed now, by when each was completed. Refunds: completed refunds"
    " by when they were made, and what a gateway calls refunded without naming a refund, by when it first said so."
    " Fees: those of these payments, and those that gateways took (or gave back) for refunds and disputes. Net:"
    " gross less refunds less fees; not known while a fee is not known, and then shown before unknown fees beside"
    " it. What a dispute holds back is in the report on refunds and disputes."
)

DEFINITIONS = {
    "gateways": Definition(
        "Per gateway: payments, their sum, average and p95 processing time",
        "Payments first heard of in the period, whatever became of them, by gateway and currency; the amount is"
        " what was asked for. Processing time runs from the first fact about a payment to its completion, of those"
        " that are completed; the average is exact, the 95th percentile to within 5 %.",
    ),
    "revenue": Definition("Gross, refunds, fees and net over time", REVENUE),
    "breakdown": Definition(
        "The same by gateway, app, method, product category or type of item",
        f"{REVENUE} By type of item it is the price of the items of orders, sold ones apart: refunds and fees belong to"
        " payments, and are not divided among items.",
    ),
    "success": Definition(
        "How many payments succeed",
        "Payments first heard of in the period, by how they stand now. Success rate: those that succeeded (refunded"
        " later or not) among those that have ended. Decline rate: those that failed among those that failed or"
        " succeeded.",
    ),
    "declines": Definition(
        "Why payments fail",
        "Payments first heard of in the period that stand as failed, by the gateway's own code; empty where it gave"
        " none. The share is of all failed payments of the gateway in the currency.",
    ),
    "refunds": Definition(
        "How much goes back: refunds and disputes",
        "Rates are of the payments completed in the period, whenever they were refunded or disputed: how many, and"
        " how much of their money. Beside them the refunds made and the disputes opened in the period, whenever"
        " their payments came in. A warning that comes before a dispute is none.",
    ),
    "orders": Definition(
        "Orders by status",
        "Orders made in the period, by their status now: the sum of their totals, what was paid (before refunds),"
        " and what went back. The average is of the totals.",
    ),
    "tickets": Definition(
        "Tickets (items) by type",
        "Items of the orders made in the period, at their prices, before tax, fees and discounts of the order. Sold"
        " are those of orders that are completed or partially refunded now.",
    ),
    "memberships": Definition(
        "Memberships: members, who came and went, churn, and monthly recurring revenue with its movements",
        "Members are memberships that are active or past due. Before and after are as their rows stood at the"
        " beginning and the end of the period, by when each change was recorded; started counts by the first"
        " recurring payment. Churn is the share of members before that are none after. Monthly recurring revenue"
        " (mrr) is each member's last amount by the interval of its renewal, days and weeks by 365.25 / 12 days in a"
        " month; members whose interval is not known are counted apart. Before, plus new, reactivated, expansion,"
        " contraction and lost, is after.",
    ),
    "cohorts": Definition(
        "Memberships by the month in which they started",
        "Memberships whose first recurring payment lies in the period, by category and by month of the time zone,"
        " and how many of them are active or past due, paused or canceled now.",
    ),
    "forwarding": Definition(
        "Deliveries to apps",
        "Deliveries logged in the period, by app: those that the app took, the tries that they needed, and the time"
        " from the receipt of an event to its delivery. Waiting and given up are as things are now.",
    ),
    "enrichment": Definition(
        "Work that follows events",
        "Jobs created in the period, by topic: done, waiting and given up as they are now; the time is from a job's"
        " creation to its end, of those that are done.",
    ),
    "completeness": Definition(
        "How much of what gateways list was recorded",
        "Payments and refunds that the gateway of an account lists for a day of UTC, beside those of them that were"
        " recorded when that day was compared last; days that begin in the period and were compared. What was"
        " missing then was asked for at once, so a day compared again is complete unless the gateway refuses. Found"
        " missing counts what all comparisons of a day missed; compared since is the oldest of the comparisons.",
    ),
    "statement": Definition(
        "Monthly financial statement, tied to payouts",
        "A calendar month of the time zone, by gateway and currency. Owed is what came in less refunds, fees and"
        " what disputes opened in the month hold back now. Paid out are the payouts and transfers that were settled"
        " in the month, with their own fees and less what came back of them. The difference of both is what the"
        " gateway holds more at the end of the month than at its beginning: the balances before and after it count"
        " everything that was ever told in the same way. Below them is listed what a difference may come from:"
        " payments whose fee is not known, refunds that no refund of the gateway explains, payouts that are under"
        " way, failed or came back.",
    ),
}
