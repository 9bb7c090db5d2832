"""Every benchmark runs, checks its own work and reports figures; how fast it was is not a test's business."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.figures import Figure, Target
from benchmarks.shapes import FAN_IN, SHAPES

ROOT = Path(__file__).parents[1]
TINY = ["--rounds=2", "--import-rounds=1", "--steps=40", "--large=80", "--order-runs=3"]
WITH_BACKENDS = {
    "chain",
    "wide",
    "layered",
    "events",
    "order",
    "limits",
    "manager",
    "durable",
    "growth",
    "memory",
    "subprocesses",
}


def measured(*arguments: str, into: Path) -> dict[str, Any]:
    main([*arguments, *TINY, "--json", str(into)])
    document: dict[str, Any] = json.loads(into.read_text("utf-8"))
    return document


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_reports_figures_with_their_targets(name: str, tmp_path: Path) -> None:
    document = measured(name, into=tmp_path / "figures.json")

    rows = document["figures"]
    assert {row["benchmark"] for row in rows} == {name}
    assert {row["backend"] for row in rows} == ({"asyncio", "trio"} if name in WITH_BACKENDS else {""})
    assert any(row["target"] for row in rows)
    for row in rows:
        assert row["samples"]
        assert row["value"] in row["samples"] or len(row["samples"]) % 2 == 0
        assert (row["met"] is None) == (row["target"] is None)


def test_the_document_says_where_it_was_measured_and_how(tmp_path: Path) -> None:
    document = measured("order", "--backend=trio", into=tmp_path / "figures.json")

    assert document["settings"]["steps"] == 40
    assert document["settings"]["backends"] == ["trio"]
    assert {"python", "platform", "versions"} <= set(document)


def test_json_goes_to_stdout_and_the_table_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    main(["order", *TINY])

    printed = capsys.readouterr()
    assert {row["benchmark"] for row in json.loads(printed.out)["figures"]} == {"order"}
    assert "times an empty group" in printed.err


def test_quiet_leaves_the_table_out(capsys: pytest.CaptureFixture[str]) -> None:
    main(["order", "--quiet", *TINY])

    printed = capsys.readouterr()
    assert (json.loads(printed.out)["settings"]["steps"], printed.err) == (40, "")


def test_another_checkout_is_measured_beside_this_one(tmp_path: Path) -> None:
    document = measured("order", "--backend=asyncio", "--against", str(ROOT), into=tmp_path / "figures.json")

    assert all(row["former"] > 0 for row in document["figures"])


def test_an_unknown_benchmark_is_refused_with_the_names_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["chian"])
    assert "no benchmark is named chian; there are chain, wide" in capsys.readouterr().err


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_every_predecessor_before_its_dependents(name: str) -> None:
    shape = SHAPES[name](50)

    assert len(shape) == 50
    for step, predecessors in enumerate(shape.predecessors):
        assert all(0 <= predecessor < step for predecessor in predecessors)
        assert set(shape.arguments[step]) <= set(predecessors)
        assert len(shape.arguments[step]) <= FAN_IN


def test_a_figure_is_the_median_and_knows_whether_it_meets_its_target() -> None:
    figure = Figure(benchmark="b", name="n", unit="x", samples=[3, 1, 2], target=Target("at most", 2))
    assert (figure.value, figure.met) == (2, True)
    assert not Target("below", 2).is_met(2)
    assert Target("at least", 2).is_met(2)


def test_the_import_of_fusynk_loads_nothing_heavy(tmp_path: Path) -> None:
    document = measured("imports", into=tmp_path / "figures.json")

    [loaded] = [row for row in document["figures"] if row["name"] == "forbidden modules loaded"]
    assert (loaded["value"], loaded["note"]) == (0, "")
