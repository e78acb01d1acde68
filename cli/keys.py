"""`gatehouse keys`: the data keys that seal credentials and payloads."""

import typer

from cli import output
from cli.target import keyring, ops_database
from gatehouse.errors import TransactionConflict
from gatehouse.models import accounts

app = typer.Typer(
    help="""See and rotate the data keys.

To rotate: add a new key to the secret of the data keys and name it `current`, wait five minutes until every function
has it, then run `gatehouse keys rotate-master`. An old key may leave the secret when `gatehouse keys list` shows that
nothing is sealed with it any more: accounts at once, payloads once retention has dropped them.""",
    no_args_is_help=True,
)


@app.command("list")
def list_() -> None:
    """List the data keys and what each still seals."""
    current = keyring().current
    rows = {row["key_id"]: row for row in accounts.keys_in_use(ops_database())}
    output.show_table(
        ("Key", "", "Accounts", "Payloads"),
        (
            (
                key_id,
                "current" if key_id == current else "",
                rows[key_id]["accounts"] if key_id in rows else 0,
                rows[key_id]["payloads"] if key_id in rows else 0,
            )
            for key_id in sorted({*rows, current})
        ),
        right=("Accounts", "Payloads"),
    )


@app.command("rotate-master")
def rotate_master() -> None:
    """Seal the credentials of all accounts anew with the current data key. Safe to repeat and to interrupt."""
    database, keys = ops_database(), keyring()
    behind = [kept for kept in accounts.list_accounts(database, keys) if kept.row["key_id"] != keys.current]
    moved = 0
    for kept in behind:
        try:
            accounts.replace_credentials(database, keys, kept, kept.credentials)
            moved += 1
        except TransactionConflict:
            # Somebody changed the account just now, and so sealed it with the key that is current there.
            output.say(f"{kept.row['gateway']}/{kept.row['account']} was changed meanwhile; run this again")
        if moved % 100 == 0 and moved:
            output.say(f"{moved} of {len(behind)}")
    output.say(f"{moved} accounts sealed anew with {keys.current}" if behind else f"all are sealed with {keys.current}")
