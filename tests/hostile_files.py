"""Graph files that a stranger might write, and what they are refused for."""

import json
from collections.abc import Mapping

UNIT = {"name": "one", "kind": "layer", "function": "tests.depot:plain"}


def graph_of(*units: Mapping[str, object], **others: object) -> dict[str, object]:
    return {"format": "fusynk graph", "version": 1, "name": "g", "units": list(units), **others}


def unit_with(**others: object) -> dict[str, object]:
    """A graph of one unit that says more than it must."""
    return graph_of({**UNIT, **others})


def text_of(unit: str) -> bytes:
    return f'{{"format": "fusynk graph", "version": 1, "name": "g", "units": [{unit}]}}'.encode()


def said(options: str) -> bytes:
    return text_of(f'{{"name": "one", "kind": "layer", "function": "tests.depot:plain", "options": {options}}}')


DEEP = 100_000
CASES: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "line 1", "it is empty"),
    "spaces": (b"  \n ", "line 2", "it ends in the middle"),
    "no JSON": (b"import os", "line 1", "is no JSON"),
    "pickle": (b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.", "line 1", "is no JSON"),
    "a list": (b"[]", "$", "must be an object, not []"),
    "a number": (b"3", "$", "must be an object, not 3"),
    "null": (b"null", "$", "must be an object, not None"),
    "no format": (b"{}", "$", "has no 'format'"),
    "another format": (b'{"format": "x\\u001b[31m", "version": 1}', "$.format", "is 'x\\x1b[31m'"),
    "no version": (b'{"format": "fusynk graph"}', "$", "has no 'version'"),
    "a newer version": (b'{"format": "fusynk graph", "version": 2, "new": {}}', "$.version", "newer than what this"),
    "a far newer version": (
        b'{"format": "fusynk graph", "version": 1' + b"0" * 99 + b"}",
        "$.version",
        "upgrade fusynk",
    ),
    "version 0": (b'{"format": "fusynk graph", "version": 0}', "$.version", "0 is no version"),
    "version 1.0": (b'{"format": "fusynk graph", "version": 1.0}', "$.version", "must be a whole number, not 1.0"),
    "version true": (b'{"format": "fusynk graph", "version": true}', "$.version", "must be a whole number, not True"),
    "version text": (b'{"format": "fusynk graph", "version": "1"}', "$.version", "must be a whole number, not '1'"),
    "no units": (b'{"format": "fusynk graph", "version": 1, "name": ""}', "$", "has no 'units'"),
    "an unknown key": (
        b'{"format": "fusynk graph", "version": 1, "name": "", "units": [], "unit": 1}',
        "$",
        "has an unknown key 'unit'; remove it. Did you mean 'units'?",
    ),
    "an unknown key of a unit": (text_of('{"nam": 1}'), "$.units[0]", "Did you mean 'name'?"),
    "an unknown key with escapes": (text_of('{"\\u001b]0;pwned\\u0007": 1}'), "$.units[0]", "'\\x1b]0;pwned\\x07'"),
    "an unknown key that looks like a place": (text_of('{"a` - at `$.x": 1}'), "$.units[0]", "'a` - at `$.x'"),
    "an unknown key of 10 MB": (text_of(f'{{"{"k" * 10**7}": 1}}'), "$.units[0]", "has an unknown key 'kkk"),
    "an unknown option": (said('{"retrys": 1}'), "$.units[0].options.retrys", "Did you mean 'retries'?"),
    "an option with escapes": (said('{"\\u001b[2J": 1}'), "$.units[0].options['\\x1b[2J']", "has no option '\\x1b[2J'"),
    "an option of 10 MB": (said(f'{{"{"k" * 10**7}": 1}}'), "$.units[0].options", "a text of at most 10000 characters"),
    "an option of a worker": (said('{"every": 1}'), "$.units[0].options.every", "@layer has no option 'every'"),
    "a name among the options": (said('{"name": "x"}'), "$.units[0].options.name", "stands beside the options"),
    "a mode among the options": (said('{"mode": "x"}'), "$.units[0].options.mode", "stands beside the options"),
    "a byte order mark": (b"\xef\xbb\xbf" + text_of(""), "line 1", "byte order mark"),
    "UTF-16": (text_of("").decode().encode("utf-16"), "line 1", "is no JSON"),
    "Latin-1": (text_of('{"name": "é"}').decode().encode("latin-1"), "", "is not UTF-8"),
    "overlong UTF-8": (text_of('{"name": "X"}').replace(b"X", b"\xc0\x80"), "", "is not UTF-8"),
    "a surrogate in UTF-8": (text_of('{"name": "X"}').replace(b"X", b"\xed\xa0\x80"), "", "is not UTF-8"),
    "half a surrogate pair": (text_of('{"name": "\\ud800"}'), "line 1", "is no JSON"),
    "half a surrogate pair at the end": (b'{"format": "\\ud800', "line 1", "half of a surrogate pair"),
    "a NUL": (text_of('{"name": "\0"}'), "line 1", "is no JSON"),
    "a raw line break in a text": (text_of('{"name": "\n"}'), "line 1", "is no JSON"),
    "more behind it": (text_of("") + b"{}", "line 1", "is no JSON: trailing characters"),
    "two of them": (text_of("") + b"\n" + text_of(""), "line 2", "is no JSON: trailing characters"),
    "a comment": (b"// a graph\n" + text_of(""), "line 1", "is no JSON"),
    "NaN": (said('{"timeout": NaN}'), "line 1", "is no JSON"),
    "Infinity": (said('{"timeout": Infinity}'), "line 1", "is no JSON"),
    "a number beyond floats": (said('{"timeout": 1e999}'), "$.units[0].options.timeout", "too large, not inf"),
    "a million digits": (said(f'{{"retries": {"9" * 10**6}}}'), "$.units[0].options.retries", "too large"),
    "a million digits of a fraction": (
        said(f'{{"priority": 0.{"9" * 10**6}}}'),
        "$.units[0].options.priority",
        "whole",
    ),
    "a thousand digits": (said(f'{{"priority": {"9" * 1000}}}'), "$.units[0].options.priority", "too large a number"),
    "digits in a backoff": (
        said(f'{{"retry_delay": {{"base": {"9" * 1000}}}}}'),
        "$.units[0].options.retry_delay",
        "too large a number",
    ),
    "deep lists": (b"[" * 10**7, "$", "must be an object"),
    "deep lists in units": (text_of("[" * DEEP + "]" * DEEP), "", "nested too deeply"),
    "deep objects in an option": (said('{"tags": ' + '{"a":' * DEEP + "1" + "}" * DEEP + "}"), "", "nested too deeply"),
    "lists in an option": (said('{"tags": [["a"]]}'), "$.units[0].options.tags[0]", "must be a text, not ['a']"),
    "a hundred lists in an option": (said(f'{{"tags": {"[" * 100}{"]" * 100}}}'), "$.units[0].options.tags[0]", "text"),
    "deep lists in a later version": (
        b'{"format": "fusynk graph", "version": 2, "x": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        "",
        "nested too deeply",
    ),
    "a name of 10 MB": (text_of(f'{{"name": "{"x" * 10**7}"}}'), "$.units[0].name", "a text of at most 10000"),
    "10 MB of escapes": (
        text_of(f'{{"name": "{chr(92)}u0041' * 1 + "\\u0041" * 10**6 + '"}'),
        "$.units[0].name",
        "10000",
    ),
    "a description of 10 MB": (said(f'{{"description": "{"x" * 10**7}"}}'), "$.units[0].options.description", "10000"),
    "a key twice": (said('{"retries": 1, "priority": 2, "retries": 3}'), "$.units[0].options.retries", "there twice"),
    "a key twice, once escaped": (said('{"retries": 1, "retrie\\u0073": 3}'), "$.units[0].options.retries", "twice"),
    "a name twice": (text_of('{"name": "a", "kind": "layer", "name": "b"}'), "$.units[0].name", "there twice"),
    "units twice": (text_of("")[:-1] + b', "units": []}', "$.units", "there twice"),
    "a unit twice": (
        json.dumps(graph_of(UNIT, UNIT)).encode(),
        "$.units[1].name",
        "'one' is the name of an earlier unit; rename one of them",
    ),
    "an empty name": (json.dumps(unit_with(name="")).encode(), "$.units[0]", "must be a text that is not empty"),
    "no function": (text_of('{"name": "one", "kind": "layer"}'), "$.units[0]", "has no function"),
    "another kind": (text_of('{"name": "a", "kind": "task\\u001b"}'), "$.units[0].kind", "not 'task\\x1b'"),
    "members of a layer": (json.dumps(unit_with(members=["a"])).encode(), "$.units[0].members", "this is a layer"),
    "a mode of a layer": (json.dumps(unit_with(mode="parallel")).encode(), "$.units[0].mode", "remove it"),
    "each of a worker": (json.dumps(unit_with(kind="worker", each=True)).encode(), "$.units[0].each", "layer"),
    "bind of a fan-out": (json.dumps(unit_with(each=True, bind={"a": "b"})).encode(), "$.units[0].bind", "fan-out"),
}
PROCESS: dict[str, object] = {"name": "p", "kind": "process", "members": ["one"]}
for _name, _entry, _where, _told in (
    ("a member that is not there", {"members": ["two"]}, "members[0]", "no unit that is declared above"),
    ("a process in itself", {"members": ["p"]}, "members[0]", "no unit that is declared above"),
    ("a member twice", {"members": ["one", "one"]}, "members", "lists member 'one' twice"),
    ("an unknown mode", {"mode": "serial"}, "mode", 'must be "parallel"'),
    ("a size of 0", {"size": 0}, "size", "must be a whole number from 1 up"),
    ("a size of a text", {"size": "2"}, "size", "must be a whole number from 1 up"),
    ("a negative delay", {"delay": -1}, "delay", "must be seconds"),
    ("a mode of null", {"mode": None}, "mode", 'must be "parallel"'),
):
    CASES[_name] = (json.dumps(graph_of(UNIT, {**PROCESS, **_entry})).encode(), f"$.units[1].{_where}", _told)

WRONG: list[object] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "os:system",
    "\x1b[2J\n",
    [],
    [[]],
    ["x", 3],
    {},
    {"x": {}},
]
"""What may stand in any place of a document."""

HOSTILE = [
    "os:system",
    "subprocess:run",
    "builtins:eval",
    "builtins:exec",
    "builtins:print",
    "builtins:__import__",
    "tests.depot:run",
    "tests.depot:compile_plan",
    "tests.depot:lru_cache",
    "tests.depot:partial",
    "tests.depot:Limit.__init__",
    "tests.depot:Graph.save",
    "tests.depot:depot",
    "tests.depot:depot.save",
    "tests.depot:calls",
    "tests.depot:innocent",
    "tests.depot:local",
    "tests.depot:nothing_of_that_name",
    "tests.depot:count.__wrapped__",
    "tests.depot:count._self_unit",
    "tests.depot:plain.__globals__",
    "tests.depot:plain.__call__",
    "tests.depot:Shelf",
    "tests.depot:Shelf.mro",
    "tests.depot:Shelf.__subclasses__",
    "tests.depot:Shelf.__init__.__globals__",
    "tests.depot:OutOfStock.with_traceback",
    "tests.depot:__loader__.load_module",
    "tests.depot:__builtins__.eval",
    "tests.depot:__name__",
    "tests.depot.__dict__:plain",
    "tests.depot:",
    ":plain",
    "::",
    "tests.depot:plain:plain",
    "tests..depot:plain",
    ".depot:plain",
    "tests/depot:plain",
    "../tests:plain",
    "tests.depot:pl ain",
    "tests.depot:plain()",
    "tests.depot\u0000:plain",
    "tests.depot:plain\n",
    "\uff4f\uff53:system",
    "tests.depot:\uff52un",
]
"""Import paths that lead where no file may lead."""

NAMES = [
    "..",
    ".",
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows",
    "\\\\server\\share",
    "a/b",
    "a\0b",
    "a\nb",
    "a\r\nb",
    "\x1b]0;pwned\x07",
    "\x9b2J",
    "\u202egpj",
    "\ufeff",
    "~root",
    "$HOME",
    "`id`",
    "$(id)",
    "; rm -rf /",
    "| cat",
    "%s%n",
    "{0.__class__}",
    "${jndi:x}",
    "'; drop table units; --",
    "<script>alert(1)</script>",
    "&amp;",
    "]]>",
    '"}],"units":[',
    "\\u0000",
    "con",
    "nul.txt",
    "-rf",
    "--help",
    " ",
    "\t",
    "x" * 5000,
    "😀" * 100,
    "İıß",
    "a\u0301",
    "a:b",
]
"""Names that somebody may take for something else."""
