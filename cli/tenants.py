"""`gatehouse tenants`: tenants and their databases, as ops see them: of every merchant."""

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import output
from cli.stored import DEFAULT_MERCHANT, JsonOption, LimitOption, MerchantOption, actor, as_json, lines, moment
from cli.target import keyring, ops_database
from gatehouse.errors import ConnectionError, NotFound, SettingError, TenantClosed
from gatehouse.jobs.bell import bell
from gatehouse.jobs.claim import work_on
from gatehouse.settings import PLANS, TENANT_ENGINES, settings
from gatehouse.tenants import attack as attacks
from gatehouse.tenants import doctor as doctors
from gatehouse.tenants import factory, records, rollout
from gatehouse.tenants.engines.prepare import prepare_cluster
from gatehouse.tenants.export import exported
from gatehouse.tenants.guard import ROLES
from gatehouse.tenants.records import Jobs, NewTenant, Row, Who, sql
from gatehouse.tenants.run import MOST_ROWS, Query, answer_text, run
from gatehouse.tenants.worker import Workshop, workers

WAIT_SECONDS = 120
POLL_SECONDS = 0.5
DAYS_SHOWN = 30
BELL_SECONDS = 5.0

app = typer.Typer(
    help="Make, look after and remove tenants' databases (docs/tenants.md).",
    no_args_is_help=True,
)
branches_app = typer.Typer(help="Copies of a tenant's database.", no_args_is_help=True)
permissions_app = typer.Typer(help="Who may do what on a tenant.", no_args_is_help=True)
app.add_typer(branches_app, name="branches")
app.add_typer(permissions_app, name="permissions")

TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="Its id, as `list` shows it.")]
BranchArgument = Annotated[str, typer.Argument(metavar="BRANCH", help="Its name.")]
SubjectArgument = Annotated[str, typer.Argument(help="user:<id>, key:<id>, or <issuer>:<sub>.")]


def _one_of(choices: tuple[str, ...]) -> Any:
    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise typer.BadParameter(f"must be one of {', '.join(choices)}")
        return value

    return check


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is called.")],
    merchant: MerchantOption = DEFAULT_MERCHANT,
    plan: Annotated[str, typer.Option("--plan", callback=_one_of(PLANS), help=f"{', '.join(PLANS)}.")] = "free",
    engine: Annotated[
        str | None, typer.Option("--engine", callback=_one_of(TENANT_ENGINES), help=f"{', '.join(TENANT_ENGINES)}.")
    ] = None,
    region: Annotated[str | None, typer.Option("--region", help="Where, at Neon.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Who owns it, such as user:anna.")] = None,
    billing_email: Annotated[str | None, typer.Option("--billing-email", help="Where bills go.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it is ready.")] = True,
) -> None:
    """Make a tenant with a database of its own."""
    who = _who(merchant)
    wanted = NewTenant(name, plan, factory.engine_for(plan, engine), region, None, billing_email)
    row, jobs = records.create(ops_database(), who, wanted)
    if owner:
        records.grant(ops_database(), who, records.Entered(row, "owner"), owner, "owner")
    _ring(jobs)
    output.say(row["id"])
    if wait:
        row = _wait_for(row["id"])
        output.say(
            f"{row['status']} on {row['engine']}" + (f": {row['status_reason']}" if row["status_reason"] else "")
        )
        if row["status"] != "active":
            raise typer.Exit(1)


@app.command("list")
def list_(
    merchant: Annotated[str | None, typer.Option("--merchant", help="Only of this merchant.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="Only in this status.")] = None,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """List tenants, newest first."""
    who = _who(merchant) if merchant else None
    found = records.list_tenants(ops_database(), who, status=status, most=limit)
    if json:
        for row in found:
            output.say(as_json(_plain(row)))
        return
    output.show_table(
        ("Tenant", "Name", "Merchant", "Plan", "Engine", "Status", "Storage MB", "Created"),
        (
            (
                *(row[each] for each in ("id", "name", "merchant", "plan_type", "engine", "status")),
                None if row["storage_bytes"] is None else round(row["storage_bytes"] / records.MEGABYTE, 1),
                moment(row["created_at"]),
            )
            for row in found
        ),
        right=("Storage MB",),
    )


@app.command()
def show(tenant: TenantArgument, json: JsonOption = False) -> None:
    """Show a tenant, its limits, and who may do what."""
    row = _row(tenant)
    if json:
        output.say(as_json(_plain(row)))
        return
    for line in lines(_plain(row).items()):
        output.say(line)
    for each in records.permissions(ops_database(), _who(row["merchant"]), tenant):
        output.say(f"{each['role']:<14} {each['subject']}")


@app.command()
def suspend(
    tenant: TenantArgument, reason: Annotated[str | None, typer.Option("--reason", help="Why; callers read it.")] = None
) -> None:
    """Close a tenant's database to all queries."""
    row = _row(tenant)
    records.suspend(ops_database(), _who(row["merchant"]), tenant, reason)
    output.say(f"{tenant} is suspended")


@app.command()
def resume(tenant: TenantArgument) -> None:
    """Open a suspended tenant again, or a deleted one in its days of grace."""
    row = _row(tenant)
    records.resume(ops_database(), _who(row["merchant"]), tenant)
    output.say(f"{tenant} is active")


@app.command()
def delete(
    tenant: TenantArgument,
    confirm: Annotated[str, typer.Option("--confirm", help="The tenant's name, so that no other one goes.")],
    at_once: Annotated[bool, typer.Option("--at-once", help="Without days of grace.")] = False,
    export: Annotated[Path | None, typer.Option("--export", help="Write all its rows to this file before.")] = None,
) -> None:
    """Close a tenant, and remove its database after some days of grace."""
    row = _row(tenant)
    if confirm != row["name"]:
        raise SettingError(f"--confirm: {tenant} is not called {confirm}")
    if export:
        _export(row, export)
    days = 0 if at_once else settings().tenant_grace_days
    _, jobs = records.delete(ops_database(), _who(row["merchant"]), tenant, grace_days=days)
    _ring(jobs)
    output.say(f"{tenant} is closed, and removed {'now' if at_once else f'in {days} days'}")


@app.command()
def export(tenant: TenantArgument, file: Annotated[Path, typer.Argument(help="Where to.")]) -> None:
    """Write all rows of a tenant's tables to a file, a line of JSON each."""
    _export(_row(tenant), file)


@app.command()
def query(
    tenant: TenantArgument,
    statement: Annotated[str, typer.Argument(help="SQL; - reads it from stdin.")],
    role: Annotated[str, typer.Option("--role", callback=_one_of(ROLES), help=f"{', '.join(ROLES)}.")] = "viewer",
    branch: Annotated[str | None, typer.Option("--branch", help="On this branch.")] = None,
) -> None:
    """Run one statement on a tenant's database, as its callers do over HTTP; the answer is JSON."""
    row = _row(tenant)
    who = _who(row["merchant"])
    text = sys.stdin.read() if statement == "-" else statement
    entered = records.enter(ops_database(), who, tenant, is_query=True)
    place = records.place_of(ops_database(), who, keyring(), entered.row, branch)
    ran = run(
        factory.links(),
        place,
        role,
        [Query(text)],
        claims={"sub": who.subject, "role": "ops"},
        is_full=entered.is_full,
        most_rows=MOST_ROWS,
    )
    records.add_usage(ops_database(), who, tenant, rows=ran.rows, size=ran.bytes, milliseconds=ran.milliseconds)
    output.say(answer_text(ran, is_array=False))


@app.command()
def usage(tenant: TenantArgument, json: JsonOption = False) -> None:
    """Show what a tenant used in the last 30 days."""
    row = _row(tenant)
    today = datetime.now(UTC).date()
    days = records.usage(ops_database(), _who(row["merchant"]), tenant, today - timedelta(days=DAYS_SHOWN), today)
    if json:
        for each in days:
            output.say(as_json(each))
        return
    names = ("date", "api_requests", "query_executions", "rows_returned", "bandwidth_used_mb", "storage_used_mb")
    output.show_table(
        ("Day", "Requests", "Queries", "Rows", "MB out", "MB stored"),
        ([each[name] for name in names] for each in days),
        right=("Requests", "Queries", "Rows", "MB out", "MB stored"),
    )


@branches_app.command("list")
def list_branches(tenant: TenantArgument) -> None:
    """List the branches of a tenant."""
    row = _row(tenant)
    output.show_table(
        ("Branch", "Status", "Made by", "Created"),
        (
            (each["name"], each["status"], each["created_by"], moment(each["created_at"]))
            for each in records.branches(ops_database(), _who(row["merchant"]), tenant)
        ),
    )


@branches_app.command("create")
def create_branch(tenant: TenantArgument, branch: BranchArgument) -> None:
    """Copy a tenant's database as it is now."""
    row = _row(tenant)
    _, jobs = records.add_branch(ops_database(), _who(row["merchant"]), records.Entered(row, "owner"), branch)
    _ring(jobs)
    output.say(f"{branch} is being made")


@branches_app.command("delete")
def delete_branch(tenant: TenantArgument, branch: BranchArgument) -> None:
    """Close a branch, and remove it."""
    row = _row(tenant)
    _, jobs = records.leave_branch(ops_database(), _who(row["merchant"]), tenant, branch)
    _ring(jobs)
    output.say(f"{branch} is being removed")


@permissions_app.command("list")
def list_permissions(tenant: TenantArgument) -> None:
    """List who may do what."""
    row = _row(tenant)
    output.show_table(
        ("Who", "Role", "Given by", "Since"),
        (
            (each["subject"], each["role"], each["granted_by"], moment(each["updated_at"]))
            for each in records.permissions(ops_database(), _who(row["merchant"]), tenant)
        ),
    )


@permissions_app.command()
def grant(
    tenant: TenantArgument,
    subject: SubjectArgument,
    role: Annotated[str, typer.Option("--role", callback=_one_of(ROLES), help=f"{', '.join(ROLES)}.")] = "developer",
) -> None:
    """Give somebody a role, or another one."""
    row = _row(tenant)
    records.grant(ops_database(), _who(row["merchant"]), records.Entered(row, "owner"), subject, role)
    output.say(f"{subject} is {role} of {tenant}")


@permissions_app.command()
def revoke(tenant: TenantArgument, subject: SubjectArgument) -> None:
    """Take somebody's role away; the last owner stays."""
    row = _row(tenant)
    records.revoke(ops_database(), _who(row["merchant"]), records.Entered(row, "owner"), subject)
    output.say(f"{subject} has no role on {tenant} any more")


@app.command()
def migrate(
    tenant: Annotated[str | None, typer.Argument(metavar="[TENANT]", help="Only this one.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All tenants.")] = False,
    canary: Annotated[
        str | None, typer.Option("--canary", help="Which one goes first; nobody follows if it fails.")
    ] = None,
) -> None:
    """Bring tenants' databases to the newest schema. Safe to repeat: what is done is left alone."""
    if (tenant is None) != all_:
        raise SettingError("say which: a TENANT, or --all")
    steps = []
    for step in rollout.migrate_all(_shop(), canary=canary, only=tenant):
        steps.append(step)
        output.note(f"{step.tenant} {step.outcome}: {step.words}")
    counts = {
        each: sum(step.outcome == each for step in steps) for each in (rollout.DONE, rollout.UP_TO_DATE, rollout.FAILED)
    }
    output.say(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    if counts[rollout.FAILED]:
        raise typer.Exit(1)


@app.command()
def doctor(
    mend: Annotated[bool, typer.Option("--mend", help="Mend what is found.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also log in to every database, with each of its roles.")
    ] = False,
) -> None:
    """Compare the tenants with what the engines have: orphans, missing or closed databases, jobs that were given up."""
    shop = _shop()
    found = doctors.examine(shop, factory.configured(), factory.links() if deep else None)
    for each in found:
        done = ""
        if mend:
            words, job = doctors.mend(shop, each)
            done = f" -> {words}"
            if job is not None:
                _ring([(job, each.words.partition(":")[0])])
        output.say(f"{each.kind:<8} {each.engine} {each.id}: {each.words}{done}")
    output.say(f"{len(found)} found" if found else "all is as it must be")
    if found and not mend:
        raise typer.Exit(3)


@app.command()
def attack(
    engine: Annotated[
        str | None, typer.Option("--engine", callback=_one_of(TENANT_ENGINES), help="Which; that of the settings.")
    ] = None,
) -> None:
    """Try all known ways out on two tenants made for it; where one gets through, SQL over HTTP is switched off."""
    name, shop, who = engine or settings().tenant_engine, _shop(), _who(DEFAULT_MERCHANT)
    made = [_made_here(shop, who, f"attack {number}", name) for number in (1, 2)]
    try:
        first, second = (shop.database.query_one(sql.find_tenant, tenant=each) for each in made)
        place = records.place_of(shop.database, who, shop.keyring(), first)
        attacks.prepare(factory.links(), place)
        outcomes = attacks.attack_all(factory.links(), place, second["id"], is_plain=name == "plain")
    finally:
        factory.links().close()
        for each in made:
            _, jobs = records.delete(shop.database, who, each, grace_days=0)
            _work_here(shop, jobs)
    passed = [one for one in outcomes if one.verdict == attacks.PASSED]
    for one in passed:
        output.say(f"{one.verdict} {one.attack.name}: {one.told}")
    output.say(f"{len(outcomes) - len(passed)} of {len(outcomes)} attacks held on {name}")
    if passed:
        reason = ", ".join(one.attack.name for one in passed)[:300]
        shop.database.query(sql.set_endpoint, engine=name, is_open=False, reason=reason)
        output.complain(
            f"SQL over HTTP is switched off for {name}; `gatehouse tenants endpoint {name} --open` ends that"
        )
        raise typer.Exit(1)


@app.command()
def endpoint(
    engine: Annotated[str, typer.Argument(callback=_one_of(TENANT_ENGINES), help=f"{', '.join(TENANT_ENGINES)}.")],
    is_open: Annotated[bool | None, typer.Option("--open/--close", help="Switch it.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why it is closed.")] = None,
) -> None:
    """Show or switch SQL over HTTP for an engine."""
    if is_open is not None:
        ops_database().query(sql.set_endpoint, engine=engine, is_open=is_open, reason=None if is_open else reason)
    for row in ops_database().query(sql.endpoints):
        if row["engine"] == engine:
            output.say(
                f"{engine}: {'open' if row['is_open'] else 'closed'}" + (f" ({row['reason']})" if row["reason"] else "")
            )


@app.command()
def prepare(
    url_file: Annotated[Path, typer.Option("--url-file", help="File with the cluster's superuser address.")],
    password_file: Annotated[Path, typer.Option("--password-file", help="File with the new role's password.")],
    role: Annotated[str, typer.Option("--role", help="The role that makes tenants.")] = "gatehouse_tenants",
) -> None:
    """Prepare a plain cluster, once: the role that makes tenants, and the template that their databases are made of."""
    address, password = (each.read_text(encoding="utf-8").strip() for each in (url_file, password_file))
    prepare_cluster(address, role, password, factory.safety())
    output.say(f"prepared: put the address of {role} into the secret of TENANT_CLUSTER_SECRET_ARN as direct_url")


def _who(merchant: str) -> Who:
    return Who(merchant, f"ops:{actor().split()[0]}", is_operator=True)


def _shop() -> Workshop:
    return Workshop(ops_database(), keyring, factory.engine, factory.safety())


def _row(tenant: str) -> Row:
    rows = ops_database().query(sql.find_tenant, tenant=tenant)
    if not rows:
        raise NotFound(f"there is no tenant {tenant}")
    return rows[0]


def _plain(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("sealed", "request_hash", "idempotency_key")}


def _ring(jobs: Jobs) -> None:
    bell().ring(jobs, budget_seconds=BELL_SECONDS)


def _wait_for(tenant: str) -> Row:
    deadline = time.monotonic() + WAIT_SECONDS
    while (row := _row(tenant))["status"] == "creating":
        if time.monotonic() > deadline:
            raise ConnectionError(f"{tenant} is still being made after {WAIT_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return row


def _made_here(shop: Workshop, who: Who, name: str, engine: str) -> str:
    """Make a tenant in this process, without a queue."""
    row, jobs = records.create(shop.database, who, NewTenant(name, "free", engine))
    _work_here(shop, jobs)
    made = shop.database.query_one(sql.find_tenant, tenant=row["id"])
    if made["status"] != "active":
        raise TenantClosed(f"no tenant to attack: {made['status_reason']}", retry_helps=False)
    return str(row["id"])


def _work_here(shop: Workshop, jobs: Jobs) -> None:
    for job, _ in jobs:
        work_on(job, workers(shop), shop.database, bell())


def _export(row: Row, file: Path) -> None:
    number = 0
    with file.open("x", encoding="utf-8") as out:
        file.chmod(0o600)
        for line in exported(records.credentials_of(keyring(), row), factory.safety()):
            out.write(line + "\n")
            number += 1
    output.say(f"{number} rows in {file}")
