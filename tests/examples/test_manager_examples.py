"""The examples of the Manager as scripts, and what lighthouse, nights and scraper promise in virtual time."""

import re
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from fusynk.manager.snapshot import Snapshot
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.examples.running import finish, imported, start

SCRIPTS = ["manager_basics", "nightly", "scraper", "pipeline", "health_monitor", "persistent_counter"]


@pytest.fixture(scope="module")
def basics() -> Iterator[Any]:
    """The example as a module, as below."""
    with imported("manager_basics") as module:
        yield module


@pytest.fixture(scope="module")
def nightly() -> Iterator[Any]:
    with imported("nightly") as module:
        yield module


@pytest.fixture(scope="module")
def scraper() -> Iterator[Any]:
    with imported("scraper") as module:
        yield module


# All of them


def arguments_of(script: str, folder: Path) -> list[str | Path]:
    """What a script needs to leave nothing but in its folder."""
    own: dict[str, list[str | Path]] = {
        "pipeline": ["--shop", folder / "shop"],
        "persistent_counter": [folder / "counter.db"],
    }
    return own.get(script, [])


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_runs_in_real_time_says_something_and_leaves_with_0(script: str, tmp_path: Path) -> None:
    result = finish(start(f"{script}.py", *arguments_of(script, tmp_path)))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\n") >= 5


LONG = {
    "manager_basics": ["--every", "60"],
    "nightly": ["--nights", "1000"],
    "scraper": ["--pages", "80"],
    "health_monitor": ["--rounds", "10000"],
    "persistent_counter": ["--runs", "10000"],
}


@pytest.mark.parametrize("script", LONG)
def test_ctrl_c_ends_each_script_with_130_and_no_traceback(script: str, tmp_path: Path) -> None:
    command = start(f"{script}.py", *arguments_of(script, tmp_path), *LONG[script])
    assert command.stdout is not None
    assert command.stdout.readline() != ""
    command.send_signal(signal.SIGINT)
    result = finish(command)
    assert (result.returncode, result.stderr) == (130, "")


@pytest.mark.parametrize("script", ["manager_basics", "nightly", "scraper", "health_monitor"])
def test_a_reader_who_leaves_ends_no_script_with_a_traceback(script: str) -> None:
    command = start(f"{script}.py", "--simulate")
    assert command.stdout is not None
    assert command.stdout.readline() != ""
    command.stdout.close()
    assert command.wait(timeout=60) in {0, 1}  # 0 if it was faster
    assert command.stderr is not None
    with command.stderr:
        assert command.stderr.read() == ""


REFUSED = [
    ("manager_basics", ["--every", "0"], "--every must be from 0.1 to 3600 seconds, not 0"),
    ("manager_basics", ["--every", "nan"], "--every must be from 0.1 to 3600 seconds, not nan"),
    ("nightly", ["--nights", "0"], "--nights must be 1 or more, not 0"),
    ("nightly", ["--cron", "* * * * 99"], "has no such day-of-week"),
    ("scraper", ["--pages", "0"], "--pages must be 1 or more, not 0"),
    ("health_monitor", ["--every", "0.001"], "--every must be from 0.05 to 3600 seconds"),
    ("health_monitor", ["--rounds", "0"], "--rounds 1 or more"),
    ("persistent_counter", ["--runs", "-1"], "--runs must be 0 or more"),
    ("persistent_counter", ["--seconds", "inf"], "--seconds from 0 to 3600"),
]


@pytest.mark.parametrize(("script", "arguments", "message"), REFUSED, ids=[f"{one} {two}" for one, two, _ in REFUSED])
def test_what_makes_no_sense_is_refused_in_one_line(
    script: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with imported(script) as module, pytest.raises(SystemExit) as left:
        module.main(arguments)
    printed = capsys.readouterr()
    assert (left.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert message in printed.err


# The lighthouse


def starts_of(printed: str, unit: str, how: str) -> list[float]:
    """At which seconds a unit was started."""
    return [float(seconds) for seconds in re.findall(rf"^ *([\d.]+) s  {unit} started {how}$", printed, re.MULTILINE)]


def test_the_lamp_keeps_its_schedule_but_while_it_is_paused_and_flashes_faster_after(
    basics: Any, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot: Snapshot = run_virtual(basics.keep, 10.0, anyio.current_time, backend=backend)
    printed = capsys.readouterr().out
    flashes = starts_of(printed, "lamp", "by its schedule")
    assert flashes[:3] == [0, 10, 20]
    assert not [moment for moment in flashes if 25.1 <= moment <= 45.1]  # paused
    after = [moment for moment in flashes if moment > 45.1]
    assert [round(later - former, 2) for former, later in pairwise(after)] == [5] * (len(after) - 1)
    assert len(after) >= 3
    assert (snapshot.units["lamp"].runs, snapshot.units["lamp"].failures) == (len(flashes), 0)


def test_the_keeper_gets_the_forecast_on_demand_a_refusal_and_the_foghorns_own_error(
    basics: Any, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot: Snapshot = run_virtual(basics.keep, 10.0, anyio.current_time, backend=backend)
    printed = capsys.readouterr().out
    assert starts_of(printed, "forecast", "on demand") == [25]
    assert "the forecast is: fog within 6 hours" in printed
    assert "refused: 'lamp' is paused; call resume('lamp') first." in printed
    assert "foghorn failed: NoAir" in printed
    assert "whoever asked for the foghorn learns: the bottle of compressed air is empty" in printed
    foghorn = snapshot.units["foghorn"]
    assert (foghorn.status, foghorn.runs, foghorn.failures, foghorn.last_error) == ("error", 1, 1, "NoAir")
    assert re.search(r"^✓ forecast +completed ", printed, re.MULTILINE)  # the dashboard


# The nights


def test_three_nights_begin_at_half_past_two_and_where_that_is_missing_at_the_end_of_the_gap(
    nightly: Any, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    run_virtual(nightly.pass_nights, nightly.AT_NIGHT, 3, nightly.virtual_clock, backend=backend)
    printed = capsys.readouterr().out
    assert re.findall(r"^(.*)  nightly starts$", printed, re.MULTILINE) == [
        "Sun 29 Mar 03:00:00 CEST",
        "Mon 30 Mar 02:30:00 CEST",
        "Tue 31 Mar 02:30:00 CEST",
    ]
    assert printed.count("75 % of the films were had; missing: tt9999999") == 3
    assert printed.count("nightly is done after") == 3


def test_members_run_in_the_mode_of_their_process_and_a_missing_film_fails_nothing_else(
    nightly: Any, backend: Backend
) -> None:
    run = run_virtual(nightly.pass_nights, "* * * * * *", 1, nightly.virtual_clock, backend=backend)
    assert run.ok
    assert run.result == "3 titles and 4 words can be searched for"
    films = run[nightly.fetch_films]
    assert sorted(films.successes) == sorted(nightly.TITLES)
    assert [type(error) for error in films.failures.values()] == [nightly.UnknownFilm]
    spans = {record.step: (record.started, record.ended) for record in run.attempts()}
    assert spans["fetch_films"][0] == spans["fetch_prices"][0]  # parallel
    assert spans["index_titles"][0] == spans["index_words"][0] >= spans["fetch"][1]  # sequential; batched by two
    assert spans["index_prices"][0] >= spans["index_words"][1]
    assert spans["remove_orphans"][0] >= spans["index"][1]
    assert spans["compact"][0] == pytest.approx(spans["remove_orphans"][1] + 0.05)  # isolated


# The scraper


def test_the_scraper_has_all_that_is_there_and_tells_what_is_not(scraper: Any, backend: Backend) -> None:
    site = scraper.Site()
    pages = run_virtual(scraper.scrape_all, site, 40, 80.0, backend=backend)
    broken = ["/products/13", "/products/26", "/products/39"]
    assert list(pages.failures) == broken
    assert {type(error) for error in pages.failures.values()} == {scraper.NotFound}
    assert len(pages) == 37
    assert pages.successes["/products/5"] == "<html>product 5</html>"
    again = {path for path, count in site.requests.items() if count > 1}
    assert again == {f"/products/{number}" for number in range(5, 41, 5)}  # and what is not there is asked for once
    assert max(site.requests.values()) == 2


def test_the_scraper_reports_each_quarter_once_and_keeps_within_the_limit_of_the_site(
    scraper: Any, backend: Backend, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[float] = []
    fetch = scraper.Site.fetch

    async def noted(site: Any, path: str) -> object:
        starts.append(anyio.current_time())
        return await fetch(site, path)

    monkeypatch.setattr(scraper.Site, "fetch", noted)
    run_virtual(scraper.scrape_all, scraper.Site(), 100, 80.0, backend=backend)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [("25", "25"), ("50", "50"), ("75", "75"), ("100", "100")]
    assert all(later - former >= 1 - 1e-6 for former, later in zip(starts, starts[20:], strict=False))


def test_a_scrape_that_brought_too_little_fails_with_a_word_and_1(
    scraper: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scraper.main(["--simulate", "--pages", "13", "--least", "95"]) == 1
    expected = "The scrape failed: 92 % of the pages were had, of which 95 % are needed."
    assert expected in capsys.readouterr().out


def test_ctrl_c_tells_how_much_was_scraped() -> None:
    command = start("scraper.py", "--pages", "20")
    assert command.stdout is not None
    assert command.stdout.readline().startswith(" 25 %")
    command.send_signal(signal.SIGINT)
    result = finish(command)
    assert result.returncode == 130
    [had, total] = re.findall(r"^Cut off: (\d+) of (\d+) pages were had, \d+ not\.$", result.stdout, re.MULTILINE)[0]
    assert 5 <= int(had) < int(total) == 20
