"""Runs as pages of HTML: what they show, and that a name stays a name."""

import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusynk import Batch, Graph, Run, compile_plan, each, layer, milestone, use
from fusynk.render import html, styles
from fusynk.render.bars import short_time
from fusynk.render.escape import for_terminal
from fusynk.render.words import shortened
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend
from tests.observing import python
from tests.render.graphs import SHOP
from tests.render_runs.browser import CHROMIUM, Page, browser
from tests.render_runs.pages import (
    NAMES,
    Element,
    bars,
    embedded,
    graph_of,
    hostile,
    read,
    rows,
    section,
    skeleton,
    states_of,
)
from tests.render_runs.plans import chain as chained
from tests.render_runs.plans import films, named, shop, waiting

PLAIN = "plain"
TAGS = (
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "h1", "h2", "p", "div", "span"),
    *("b", "bdi", "code", "dl", "dt", "dd", "ol", "li", "details", "summary", "script"),
    *("svg", "g", "line", "rect", "path", "circle", "text", "tspan"),
)


# What is on a page


def test_a_page_says_how_the_run_ended(backend: Backend) -> None:
    root = read(simulate(shop(), backend=backend).run.to_html())

    assert root.one("html").attributes == {"lang": "en"}
    assert root.one("head").one("title").text == "Run simulation failed"
    assert root.one("h1").text == "Run simulation ✗ failed"
    assert [line.text for line in root.one("header").all("p")] == [
        "It ended after 1.70 s: 6 steps, 3 succeeded, 1 failed, 2 cancelled.",
        "It ended early because charge failed.",
    ]


def test_a_page_of_a_nested_run_names_the_run_around_it(ordered: Run[Any]) -> None:
    root = read(html.page(replace(ordered._account, parent_id="<outer>")))

    assert root.one("header").all("p")[-1].text == "A step of run <outer> started it."
    assert embedded(root)["parent_id"] == "<outer>"


def test_the_figures_are_those_of_the_report(ordered: Run[Any], ordered_page: Element) -> None:
    figures = section(ordered_page, "Figures")

    shown = [f"{part.one('dt').text:<17} {part.one('dd').text}" for part in figures.one("dl").all("div")]
    lines = str(ordered.report).splitlines()
    assert shown == [line.strip() for line in lines[1:-1]]
    assert figures.one("p").text == "Critical path: " + " → ".join(ordered.report.critical_path)


def test_a_long_critical_path_is_shortened_in_its_middle() -> None:
    figures = section(read(simulate(chained(1000, slow=1)).run.to_html()), "Figures")

    [path] = figures.all("p")
    assert path.text.count("→") == 12
    assert "step_00005 → (988 more steps) → step_00994" in path.text


def test_failures_say_which_error_it_was_and_what_followed_but_not_what_the_error_says(ordered_page: Element) -> None:
    failures = [entry.text for entry in section(ordered_page, "Failures").all("li")]

    assert failures == [
        "fetch_orders[3]: HTTPError",
        "fetch_orders[12]: HTTPError",
        "charge_cards: CardDeclined, 3 steps skipped because of it",
    ]


def test_what_failed_after_the_steps_is_among_the_failures(ordered: Run[Any]) -> None:
    account = ordered._account
    ending = replace(
        account.ending,
        compensation_failures={"charge_cards": KeyError("canary")},
        teardown_failures={"connect_db": OSError("canary")},
        stuck=("connect_db",),
        abandoned=("archive",),
        subscriber_failures={"<listener>": 1200},
    )

    root = read(html.page(replace(account, ending=ending, failures={})))

    assert [entry.text for entry in section(root, "Failures").all("li")] == [
        "charge_cards: not undone: its compensation failed (KeyError)",
        "connect_db: its teardown failed, outlived its grace (OSError)",
        "archive: its thread was left behind",
        "<listener>: a subscriber that raised 1,200 times",
    ]


def test_parts_that_have_nothing_to_show_are_left_out() -> None:
    root = read(simulate(chained(2)).run.to_html())

    assert [part.attributes["aria-label"] for part in root.all("section")] == ["Figures", "Timeline", "Dependencies"]


def test_milestones_are_named_with_their_times_but_without_what_was_said_of_them(ordered_page: Element) -> None:
    listed = [entry.text for entry in section(ordered_page, "Milestones").all("li")]

    assert listed[0] == "420 ms connect_db done in connect_db"
    assert len(listed) == len(embedded(ordered_page)["milestones"]) == 14


def test_no_value_and_no_message_is_on_a_page(ordered: Run[Any]) -> None:
    text = ordered.to_html() + ordered._repr_mimebundle_()["text/html"]

    assert "canary" not in text


def test_twenty_steps_take_less_than_40_kilobytes(ordered: Run[Any]) -> None:
    assert len(ordered.to_html().encode()) < 40_000


# The graph and the facts


def test_the_graph_shows_every_step_with_its_state_also_in_words(ordered: Run[Any], ordered_page: Element) -> None:
    graph = section(ordered_page, "Dependencies")

    units = [(unit.one("title").text, unit.classes[1]) for unit in graph.all("g", "unit")]
    assert sorted(units) == sorted((f"{name}: {state}", state) for name, state in states_of(ordered).items())
    words = [entry.text for entry in graph.one("details").all("li")]
    assert len(words) == 20
    assert "load_config needs nothing" in words
    assert "convert_prices needs fetch_orders, fetch_rates" in words


def test_the_facts_are_those_of_the_run(ordered: Run[Any], ordered_page: Element) -> None:
    facts = embedded(ordered_page)

    names = [step["name"] for step in facts["steps"]]
    begin = ordered.attempts()[0].started
    assert (facts["run_id"], facts["status"], facts["cause"]) == ("orders-2026-11-22", "failed", None)
    assert {(names[source], names[target]) for source, target in facts["edges"]} == SHOP.edges | {
        ("load_config", "fetch_orders")
    }
    told = [
        (
            f"{names[one['step']]}[{one['item']}]" if "item" in one else names[one["step"]],
            one["number"],
            one["started"],
            one["ended"],
            one.get("error"),
        )
        for one in facts["attempts"]
    ]
    assert sorted(told, key=str) == sorted(
        (
            (
                attempt.step,
                attempt.number,
                round(attempt.started - begin, 9),
                round(attempt.ended - begin, 9),
                type(attempt.error).__name__ if attempt.error else None,
            )
            for attempt in ordered.attempts()
        ),
        key=str,
    )
    assert [one["started"] for one in facts["attempts"]] == sorted(one["started"] for one in facts["attempts"])
    assert facts["report"]["success_rate"] == ordered.report.success_rate
    assert set(facts["left_out"].values()) == {0}


def test_the_facts_of_a_step_say_how_it_ended() -> None:
    continued = embedded(read(simulate(shop("continue")).run.to_html()))
    aborted = embedded(read(simulate(shop()).run.to_html()))

    by_name = {step["name"]: step for step in continued["steps"]}
    assert by_name["charge"] == {"name": "charge", "state": "failed", "error": "CardDeclined", "slack": 0.0}
    assert (by_name["send_mail"]["because"], by_name["send_mail"]["cause"]) == ("charge", "failure")
    assert {step["name"]: step.get("by") for step in aborted["steps"]}["audit"] == "abort"
    [audit] = [one for one in aborted["attempts"] if aborted["steps"][one["step"]]["name"] == "audit"]
    assert audit["state"] == "cancelled"
    [fetch] = [step for step in embedded(read(simulate(films(100)).run.to_html()))["steps"] if "items" in step]
    assert fetch["items"] == {"succeeded": 96, "failed": 4}


def test_times_are_counted_from_the_first_start_whatever_the_clock_says() -> None:
    @layer
    async def step() -> None:
        milestone("here")

    root = read(compile_plan(step).run_sync().to_html())

    facts, [entry] = embedded(root), section(root, "Milestones").all("li")
    [attempt], [told] = facts["attempts"], facts["milestones"]
    assert attempt["started"] == 0
    assert 0 < told["time"] < attempt["ended"]
    near = {short_time(told["time"] + shift) for shift in (-1e-9, 0, 1e-9)}  # what is told is rounded to nanoseconds
    assert entry.one("span", "time").text in near
    assert bars(rows(root)[0]) == [(0.0, 100.0, "")]


def test_an_artifact_that_looks_like_an_outcome_is_not_taken_for_one() -> None:
    @layer
    async def asked() -> str:
        return "yes"

    @layer
    async def told(how: object = use.outcome(asked)) -> object:
        return how

    facts = embedded(read(simulate(compile_plan(told)).run.to_html()))

    assert [step["state"] for step in facts["steps"]] == ["succeeded"] * 2


# Any names


@pytest.mark.parametrize("what", NAMES)
def test_a_name_is_text_and_nothing_else(what: str) -> None:
    run, plain = simulate(hostile(NAMES[what])).run, simulate(hostile(PLAIN)).run

    text = run.to_html()
    root = read(text)

    assert skeleton(root) == skeleton(read(plain.to_html()))
    seen = shortened(for_terminal(NAMES[what]), 200, "…")
    assert root.one("h1").one("bdi").text == seen
    assert root.one("head").one("title").text == f"Run {seen} failed"
    assert rows(root)[0].one("bdi").text in (seen, "numbers")
    assert any(entry.one("code").text == seen for entry in section(root, "Failures").all("li"))
    assert section(root, "Milestones").all("li")[0].one("code").text == seen
    assert all(char.isprintable() for char in text if char != "\n"), "nothing steers whatever shows the source"


@pytest.mark.parametrize("what", NAMES)
def test_the_facts_keep_names_as_they_are(what: str) -> None:
    run = simulate(hostile(NAMES[what])).run

    root = read(run.to_html())

    name = NAMES[what].encode("utf-8", "backslashreplace").decode()
    facts = embedded(root)
    assert name in [step["name"] for step in facts["steps"]]
    assert facts["run_id"] == facts["milestones"][0]["name"] == facts["milestones"][0]["step"] == name
    raw = root.one("script").text
    assert raw.isascii()
    assert not set("<>&") & set(raw)
    raw.encode().decode("utf-8", "strict")


def test_all_hostile_names_together_are_one_page() -> None:
    names = tuple(NAMES.values())

    root = read(simulate(named(names, ValueError())).run.to_html())

    assert len(rows(root)) == len(names)
    assert len(section(root, "Dependencies").all("g", "unit")) == len(names)


def test_names_in_pictures_are_as_long_as_fits_a_page() -> None:
    drawn = section(read(simulate(named(("x" * 500,))).run.to_html()), "Dependencies").one("g", "unit")

    assert drawn.one("text").text == "x" * 39 + "… ✓"

    drawn = section(read(simulate(named(("\n" * 500,))).run.to_html()), "Dependencies").one("g", "unit")

    assert len(drawn.one("text").text) == 42


def test_brackets_in_names_are_drawn_as_they_are() -> None:
    assert ">[bold]x[/]<" in compile_plan(graph_of("[bold]x[/]")).to_svg()


# What a page may do


def policy(root: Element) -> str:
    [found] = [one for one in root.all("meta") if one.attributes.get("http-equiv") == "Content-Security-Policy"]
    return found.attributes["content"]


def test_a_page_may_do_nothing_but_look_like_this(ordered: Run[Any], ordered_page: Element) -> None:
    hashes = [b64encode(sha256(style.text.encode()).digest()).decode() for style in ordered_page.all("style")]

    assert policy(ordered_page) == (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
    )
    assert len(hashes) == 2
    names = {name for _, attributes in skeleton(ordered_page) for name, _ in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("href", "src", "style", "xlink:href")]
    styles_ = "".join(style.text for style in ordered_page.all("style"))
    assert not re.search(r"url\(|@import|expression|<", styles_)
    assert ordered_page.one("script").attributes == {"type": "application/json", "id": "run"}
    assert {tag for tag, _ in skeleton(ordered_page)} <= {"", *TAGS}


def contrast(one: str, other: str) -> float:
    """How well one colour is read on another, after WCAG 2."""

    def luminance(colour: str) -> float:
        full = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        channels = [int(full[place : place + 2], 16) / 255 for place in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("palette", [styles._LIGHT, styles._DARK], ids=["light", "dark"])
def test_everything_written_has_enough_contrast(palette: str) -> None:
    colours = dict(part.removeprefix("--").split(":") for part in palette.split(";"))

    for ink in ("ink", "faint", "blue", "green", "red", "yellow"):
        for ground in ("paper", "soft"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, f"{ink} on {ground}"


# Any size


def test_a_run_of_nothing_has_a_page() -> None:
    root = read(simulate(compile_plan(Graph("empty"))).run.to_html())

    assert [part.attributes["aria-label"] for part in root.all("section")] == ["Figures"]
    assert [line.text for line in root.all("p")] == ["It ended after 0 s: no steps."]
    assert embedded(root)["steps"] == []


def test_a_page_of_many_steps_says_what_it_leaves_out() -> None:
    text = simulate(chained(6000)).run.to_html()
    root = read(text)

    assert len(rows(root)) == 100
    assert section(root, "Timeline").all("p", "note")[-1].text == "and 5,900 more steps: 5,900 succeeded"
    assert [note.text for note in section(root, "Dependencies").all("p")] == [
        "The graph is too large to be drawn here: it has 6,000 steps and 5,999 dependencies. run.to_svg() draws it.",
        "and 5,900 more steps",
    ]
    facts = embedded(root)
    assert facts["left_out"] == {"steps": 1000, "edges": 999, "attempts": 1000, "milestones": 0}
    assert [len(facts[kind]) for kind in ("steps", "edges", "attempts")] == [5000] * 3
    assert len(text) < 1_000_000


def test_steps_with_many_dependencies_list_some_of_them() -> None:
    graph = graph_of(*(f"s{number:03}" for number in range(50)))
    graph.add_layer(waiting(1), name="last", depends_on=[f"s{number:03}" for number in range(50)])

    words = section(read(simulate(compile_plan(graph)).run.to_html()), "Dependencies").all("li")[-1].text

    assert words.startswith("last needs s000, s001, ")
    assert words.endswith("s019, 30 more")


def test_milestones_and_failures_beyond_the_hundredth_are_counted() -> None:
    graph = Graph("many")

    @graph.layer
    async def numbers() -> list[int]:
        return list(range(150))

    @graph.layer.each(on_error="continue")
    async def item(number: int = each(numbers)) -> None:
        milestone("here")
        raise OSError

    @graph.layer
    async def last(items: Batch[None] = use(item)) -> None: ...

    root = read(simulate(compile_plan(last)).run.to_html())

    for title, noun in (("Milestones", "milestones"), ("Failures", "failures")):
        assert len(section(root, title).all("li")) == 100
        assert section(root, title).one("p").text == f"and 50 more {noun}"


@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.lists(st.integers(0, 100), max_size=3), st.integers(0, 2), st.text(max_size=5)),
        max_size=8,
    )
)
def test_pages_of_random_runs_read_back_as_the_run(parts: list[tuple[float, list[int], int, str]]) -> None:
    graph, edges, names = Graph("random"), set[tuple[str, str]](), list[str]()
    for number, (seconds, before, failures, name) in enumerate(parts):
        sources = sorted({names[one % number] for one in before}) if number else []
        names.append(f"{name}<{number}>")
        edges |= {(source, names[-1]) for source in sources}
        error = ValueError() if failures == 2 else None
        graph.add_layer(waiting(seconds, error), name=names[-1], depends_on=sources, retries=failures)
    run = simulate(compile_plan(graph, concurrency=2, on_error="continue")).run

    root = read(run.to_html())

    facts = embedded(root)
    told = [step["name"] for step in facts["steps"]]
    assert sorted(told) == sorted(name.encode("utf-8", "backslashreplace").decode() for name in names)
    assert len(facts["edges"]) == len(edges)
    drawn = rows(root) if parts else []
    assert len(facts["attempts"]) == len(run.attempts()) == sum(len(bars(one)) for one in drawn)
    assert sorted(one.one("bdi").text for one in drawn) == sorted(map(for_terminal, names))
    assert len(section(root, "Failures").all("li") if run.failures else []) == len(run.failures)


# Files


def test_a_page_is_written_to_a_file_and_then_not_returned(ordered: Run[Any], tmp_path: Path) -> None:
    for file in (tmp_path / "run.html", str(tmp_path / "other.html")):
        ordered.to_html(file)
        assert Path(file).read_bytes() == ordered.to_html().encode()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_is_replaced_at_once_not_written_over(ordered: Run[Any], tmp_path: Path) -> None:
    former, file = tmp_path / "former.html", tmp_path / "run.html"
    file.write_text("former")
    former.hardlink_to(file)

    ordered.to_html(file)

    assert former.read_text() == "former"
    assert file.read_text("utf-8") == ordered.to_html()


def test_a_file_that_cannot_be_written_is_an_error_that_names_it_and_leaves_nothing(
    ordered: Run[Any], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    for place in (tmp_path / "nowhere" / "run.html", folder):
        with pytest.raises(OSError, match=re.escape(str(place))):
            ordered.to_html(place)
    assert list(tmp_path.rglob("*")) == [folder]


def test_importing_the_library_loads_nothing_of_it() -> None:
    ended = python("import sys, fusynk; print(*sys.modules)")

    assert "fusynk.plan" in ended.stdout
    assert not {"fusynk.render.html", "fusynk.render.gantt", "fusynk.render.styles"} & set(ended.stdout.split())


# In a browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: install one to see pages as readers do")
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def files(ordered: Run[Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    runs = {"orders": ordered, "hostile": simulate(named(tuple(NAMES.values()), ValueError())).run}
    for name, run in runs.items():
        run.to_html(folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in runs}


@pytest.mark.parametrize("name", ["orders", "hostile"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_a_page_without_complaint(page: Page, files: dict[str, Path], name: str, width: int) -> None:
    elements = len(skeleton(read(files[name].read_text("utf-8")))) - 1
    grounds: list[str] = []
    for dark in (False, True):
        page.look(width=width, dark=dark)
        page.open(files[name])
        grounds.append(page.eval("getComputedStyle(document.documentElement).backgroundColor"))

        assert page.complaints == []
        assert page.requests == [files[name].as_uri()]
        assert page.eval("document.documentElement.scrollWidth") == width, "it scrolls sideways"
        assert page.eval("document.scripts.length") == 1
        assert page.eval("document.querySelectorAll('*').length") == elements, "it reads the page otherwise than we"
        assert page.eval("JSON.parse(document.querySelector('#run').textContent).steps.length") == page.eval(
            "document.querySelectorAll('.fusynk-graph .unit').length"
        )
    assert grounds == ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]


def test_a_browser_shows_the_title_the_graph_and_the_timeline(page: Page, files: dict[str, Path]) -> None:
    page.look(width=1280)
    page.open(files["orders"])

    assert page.eval("document.title") == "Run orders-2026-11-22 failed"
    for seen in (".fusynk-graph", ".fusynk-graph .failed .box", ".rows .failed rect", "h1", ".axis text"):
        assert page.eval(f"document.querySelector('{seen}').checkVisibility()")
        assert page.eval(f"document.querySelector('{seen}').getBoundingClientRect().width") > 2
    assert page.eval("getComputedStyle(document.querySelector('.rows rect.failed')).fill") == "rgb(207, 34, 46)"


def test_the_policy_of_a_page_is_in_force_and_breaking_it_is_heard(
    page: Page, files: dict[str, Path], tmp_path: Path
) -> None:
    forbidden = '<p id="red" style="color:red">x</p><script>window.ran = 1</script><main'
    broken = tmp_path / "broken.html"
    broken.write_text(files["orders"].read_text("utf-8").replace("<main", forbidden), "utf-8")

    page.open(broken)

    assert page.eval("window.ran") is None
    assert page.eval("getComputedStyle(document.querySelector('#red')).color") != "rgb(255, 0, 0)"
    assert page.complaints
    page.complaints.clear()
