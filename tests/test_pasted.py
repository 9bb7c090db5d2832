"""The outputs in README.md are those of its own code, and a change of either is noticed."""

import re
import warnings
from pathlib import Path

import pytest

from tests import pasted

README = pasted.README.read_text("utf-8")
BLOCK = re.compile(r"^(?P<marker><!-- output[^\n]* -->\n)?```text\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = """\
```python
import anyio

from fusynk import compile_plan, layer
from fusynk.testing import simulate


@layer
async def {name}() -> None:
    await anyio.sleep(0.5)


plan = compile_plan({name})
print("printed")
simulate(plan.options(progress=True))
```

"""


def document(name: str, *blocks: str) -> str:
    """A document of one program and blocks of text."""
    return PROGRAM.format(name=name) + "\n\n".join(blocks) + "\n"


def test_readme_shows_what_its_code_writes() -> None:
    found = pasted.difference(README)
    assert not found, found


def test_every_block_of_text_is_pasted_but_the_module_map() -> None:
    by_hand = [block["text"] for block in BLOCK.finditer(README) if not block["marker"]]
    assert [text.split()[0] for text in by_hand] == ["fusynk/__init__.py"]


@pytest.mark.parametrize("section", ["Draw", "Listen", "See", "Trace and measure", "Log"])
def test_each_section_on_views_shows_output(section: str) -> None:
    [text] = re.findall(rf"^## {section}\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    assert BLOCK.search(text) is not None


LINES = "printed\n      0 s  run simulation: 1 step\n"


def test_what_a_block_writes_is_pasted_below_it_and_nothing_else_is_touched() -> None:
    written = pasted.refreshed(document("noticed", "<!-- output -->\n```text\nformer\n```", "```text\nby hand\n```"))

    pasted_block, by_hand = [block["text"] for block in BLOCK.finditer(written)]
    assert pasted_block.startswith(LINES)
    assert by_hand == "by hand\n"
    assert pasted.refreshed(written) == written
    assert pasted.difference(written) == ""


def test_a_changed_output_is_shown_as_a_difference_with_the_command_that_mends_it() -> None:
    written = pasted.refreshed(document("changed", "<!-- output -->\n```text\n```"))

    found = pasted.difference(written.replace("run simulation succeeded", "run simulation failed"))

    assert "-   500 ms  run simulation failed: 1 succeeded\n+   500 ms  run simulation succeeded: 1 succeeded" in found
    assert found.endswith("paste them anew: python -m tests.pasted --write")


def test_changed_code_is_noticed() -> None:
    written = pasted.refreshed(document("slower", "<!-- output -->\n```text\n```"))

    found = pasted.difference(written.replace("sleep(0.5)", "sleep(0.7)"))

    assert "-   500 ms  slower succeeded after 500 ms" in found
    assert "+   700 ms  slower succeeded after 700 ms" in found


def test_a_terminal_shows_a_picture_where_others_show_lines() -> None:
    marker = "<!-- output on a terminal after 375 ms -->\n```text\n```"
    [picture, lines] = [
        block["text"]
        for block in BLOCK.finditer(pasted.refreshed(document("seen", marker, "<!-- output -->\n```text\n```")))
    ]

    assert re.search(r"^► seen +375 ms █+$", picture, re.MULTILINE)
    assert picture.endswith("► 0 of 1 step after 375 ms: 1 running\n")
    assert "█" not in lines


def test_a_time_that_no_picture_shows_is_an_error() -> None:
    with pytest.raises(LookupError, match=r"no picture of \d+ on the terminal says 'after 3 years: '"):
        pasted.refreshed(document("unseen", "<!-- output on a terminal after 3 years -->\n```text\n```"))


def test_what_the_machine_decides_is_not_compared() -> None:
    first = '```python\nprint("Peak memory  1 MiB")\n```\n\n<!-- output -->\n```text\n  Peak memory  2 GiB\n```\n'
    assert "Peak memory  1 MiB" in pasted.refreshed(first)
    same = first.replace("  Peak", "Peak", 1)
    assert pasted.refreshed(same) == same


def test_the_users_terminal_and_colours_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    written = pasted.refreshed(document("plain", "<!-- output on a terminal after 375 ms -->\n```text\n```"))
    for name, value in {"COLUMNS": "200", "NO_COLOR": "1", "FORCE_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)

    assert pasted.refreshed(written) == written


def test_a_warning_is_no_output_but_an_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserWarning, match="mind the step"):
            pasted.refreshed('```python\nimport warnings\n\nwarnings.warn("mind the step")\n```\n')


def test_a_block_that_fails_tells_its_line_in_the_document() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        pasted.refreshed("Text.\n\n```python\nprint(1)\n1 / 0\n```\n")
    assert caught.traceback[-1].lineno == 4
    assert str(caught.traceback[-1].path).endswith("README.md")


def test_the_command_tells_what_is_out_of_date_and_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "README.md"
    file.write_text(document("mended", "<!-- output -->\n```text\nformer\n```"), "utf-8")
    monkeypatch.setattr(pasted, "README", file)

    assert pasted.main([]) == 1
    assert "\n-former\n+printed\n" in capsys.readouterr().out
    assert pasted.main(["--write"]) == 0
    assert f"```text\n{LINES}" in file.read_text("utf-8")
    assert pasted.main([]) == 0
    assert capsys.readouterr().out == "Outputs in README.md are up to date.\n"
