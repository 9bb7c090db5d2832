"""The durable orders: whenever the script is killed, each order comes to its end with one payment."""

import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from fusynk import SqliteJournal
from tests.examples.running import finish, imported, start


@pytest.fixture(scope="module")
def orders() -> Iterator[Any]:
    """The example as a module."""
    with imported("durable_orders") as module:
        yield module


def test_orders_are_taken_once(orders: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tmp_path / "orders.db"), "--orders", "4"]

    assert orders.main(arguments) == 0
    first = capsys.readouterr().out.splitlines()
    assert orders.main(arguments) == 0
    second = capsys.readouterr().out.splitlines()

    assert first[-1] == second[-1] == "4 orders for 118950 cents, and 4 payments of 118950 cents."
    assert [line.split(":")[1] for line in second[:-1]] == [
        line.split(":")[1].replace(" ", " complete before, ", 1) for line in first[:-1]
    ]


def test_orders_that_were_killed_come_to_their_end(tmp_path: Path) -> None:
    file, seed = tmp_path / "orders.db", 2611
    chance = random.Random(seed)
    arguments = (file, "--orders", "60")
    for _ in range(6):
        command = start("durable_orders.py", *arguments)
        assert command.stdout is not None
        _ = command.stdout.readline()
        time.sleep(chance.uniform(0, 0.1))
        command.kill()
        _ = finish(command)

    ended = finish(start("durable_orders.py", *arguments))

    assert ended.returncode == 0, (seed, ended.stderr)
    total, paid = ended.stdout.splitlines()[-1].split(", and ")
    assert total.startswith("60 orders for ")
    assert paid.startswith("60 payments of ")
    journal = SqliteJournal(file)
    assert {found.status for found in journal.runs()} == {"succeeded"}
    journal.close()


def test_a_file_of_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "orders.db"
    with sqlite3.connect(file) as connection:
        _ = connection.execute("CREATE TABLE theirs (a)")
    connection.close()

    ended = finish(start("durable_orders.py", file))

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("durable_orders.py: error: ")
    assert "is no journal of fusynk" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_payment_that_a_kill_has_torn_counts_for_nothing(orders: Any, tmp_path: Path) -> None:
    file = tmp_path / "bank"
    _ = file.write_text('["a", 3]\n["a", 3]\n["b", ', "utf-8")

    assert orders.Bank(file).payments() == {"a": 3}
    assert orders.Bank(tmp_path / "none").payments() == {}


def test_the_total_is_what_was_paid(orders: Any, tmp_path: Path, backend: str) -> None:
    file = tmp_path / "orders.db"
    total = anyio.run(orders.take_orders, file, 3, backend=backend)
    assert total == sum(orders.Bank(Path(f"{file}.bank")).payments().values())
