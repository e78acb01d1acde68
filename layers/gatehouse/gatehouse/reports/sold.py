"""Reports on what was ordered: orders by how they stand, and tickets (items) by type."""

from gatehouse.database.connection import Database
from gatehouse.reports.answers import Row, added, average
from gatehouse.reports.money import grouped
from gatehouse.reports.totals import Cells, Wanted, question, read_cells

ORDERS = ("orders", "ordered_minor", "paid_minor", "returned_minor", "tax_minor", "order_fee_minor", "discount_minor")
ITEMS = ("orders", "quantity", "ordered_minor", "sold_quantity", "sold_minor")


def order_statistics(database: Database, wanted: Wanted, *, event: str | None = None) -> tuple[Cells, list[Row]]:
    """Return how many orders there are and what they brought, by status."""
    slots = wanted.period.slots()
    cells = read_cells(database, wanted, slots, question("order_cells", wanted, "order", slots, detail=event))
    rows = []
    for (slot, status, currency), members in sorted(grouped(cells.rows[0], ("slot", "value", "currency")).items()):
        together = added(members, ORDERS)
        if not together["orders"]:
            continue
        when = {"from": slots[slot].label} if slots[slot].label else {}
        rows.append(
            {
                **when,
                "status": status,
                "currency": currency,
                "orders": together["orders"],
                "ordered_minor": together["ordered_minor"],
                "average_minor": average(together["ordered_minor"], together["orders"]),
                "paid_minor": together["paid_minor"],
                "refunded_minor": together["returned_minor"],
                "tax_minor": together["tax_minor"],
                "fee_minor": together["order_fee_minor"],
                "discount_minor": together["discount_minor"],
            }
        )
    return cells, rows


def tickets(database: Database, wanted: Wanted, *, event: str | None = None) -> tuple[Cells, list[Row]]:
    """Return how many items of each type were ordered and sold, and what they brought."""
    slots = wanted.period.slots()
    cells = read_cells(database, wanted, slots, question("order_cells", wanted, "item", slots, detail=event))
    rows = []
    for (slot, kind, currency), members in sorted(grouped(cells.rows[0], ("slot", "value", "currency")).items()):
        together = added(members, ITEMS)
        if not together["quantity"]:
            continue
        when = {"from": slots[slot].label} if slots[slot].label else {}
        rows.append(
            {
                **when,
                "item_type": kind,
                "currency": currency,
                "orders": together["orders"],
                "ordered_quantity": together["quantity"],
                "ordered_minor": together["ordered_minor"],
                "sold_quantity": together["sold_quantity"],
                "sold_minor": together["sold_minor"],
            }
        )
    return cells, rows
