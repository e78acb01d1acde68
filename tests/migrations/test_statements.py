"""SQL text is cut into statements where Postgres would cut it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.database.sql import Bound, Statement
from gatehouse.errors import DatabaseError
from gatehouse.migrations.sessions import Target, open_reader
from gatehouse.migrations.statements import UnreadableSql, split_statements
from local.postgres import PostgresServer

pytestmark = pytest.mark.req("P13")

# Each is one statement with a semicolon, a quote or a bracket where a careless splitter stumbles.
SINGLE_STATEMENTS = [
    "select ';'",
    "select 'it''s; fine'",
    r"select E'a\';b' ",
    r"select e'\\'",
    r"select '\'",
    r"select U&'\0441;\043b'",
    'select 1 as "a;""b"',
    "select $$ a; 'b' $$",
    "select $x$ $$ ; $$ ; $x$",
    "select a$b$c from t",
    "select $1, $2",
    "select 1 -- not yet; 'here\n, 2",
    "select 1 /* ; /* ' */ ; */ , 2",
    "create rule r as on insert to t do also (insert into a values (1); insert into b values (2))",
    "create function f() returns int begin atomic select 1; select case when true then 1 else 2 end; end",
    "create or replace procedure p() begin atomic insert into t values (1); end",
    "create function f() returns trigger language plpgsql as $body$ begin perform 1; return new; end $body$",
    "do $$ begin raise notice ';'; end $$",
    "create table begin_atomic (case_id int)",
    "alter table t alter c set default ';'",
    "select 'é;', \"ü;\" from größe",
]


@pytest.mark.parametrize("text", SINGLE_STATEMENTS)
def test_what_is_one_statement_stays_one(text: str) -> None:
    assert [each.text for each in split_statements(text + ";")] == [text.strip()]
    assert [each.text for each in split_statements(text)] == [text.strip()]


@given(
    st.lists(st.sampled_from(SINGLE_STATEMENTS), max_size=8),
    st.sampled_from(["", "\n", " -- comment; here\n", "\n/* two;\nlines */ ", "\n\n;\n;"]),
)
def test_any_sequence_is_cut_into_what_it_was_made_of(statements: list[str], between: str) -> None:
    text = "".join(f"{statement};{between}" for statement in statements)
    assert [each.text for each in split_statements(text)] == [statement.strip() for statement in statements]


@given(st.text(alphabet="ab;'\"$/*-\n()E\\ begin", max_size=60))
def test_any_text_is_read_or_refused_and_nothing_is_lost(text: str) -> None:
    try:
        found = split_statements(text)
    except UnreadableSql:
        return
    at = 0
    for statement in found:
        at = text.index(statement.text, at) + len(statement.text)
        assert statement.text.strip()
        assert statement.text.split("\n")[0] in text.split("\n")[statement.line - 1]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("select 1;\nselect 'a", 2, "a quote is never closed"),
        ('\n\nselect "a', 3, "a quote is never closed"),
        ("select $f$ a", 1, "the body that starts with $f$ is never closed"),
        ("select 1 /* /* */", 1, "a comment is never closed"),
    ],
)
def test_what_never_ends_is_refused_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(UnreadableSql) as refused:
        split_statements(text)
    assert (refused.value.line, str(refused.value)) == (line, what)


def test_a_statement_knows_its_lines() -> None:
    first, second = split_statements("\n-- why\nselect\n  1;\n\nselect 2", first_line=10)
    assert (first.line, second.line) == (12, 15)
    assert first.line_at(len("select\n  1")) == 13
    assert first.words == ("select",)


@pytest.mark.parametrize("text", SINGLE_STATEMENTS)
def test_postgres_takes_each_of_these_for_one_statement(postgres_server: PostgresServer, text: str) -> None:
    with open_reader(Target("primary", postgres_server.url(), tls="off")) as session:
        session.run("begin")
        words = ""
        try:
            session.query(Bound(Statement("tried", "", text, ()), []))
        except DatabaseError as refused:  # most of them name tables that are not there
            words = str(refused)
        assert "multiple commands" not in words
