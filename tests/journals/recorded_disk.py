"""What a program does to the files of a folder, in order, as strace tells it."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import pytest

from tests.observing import ROOT

_BY_DESCRIPTOR = "write,pwrite64,ftruncate,fsync,fdatasync"
_BY_NAME = "openat,rename,unlink"
# The files could be changed by these as well; a record with one of them in it is refused, lest it be misread.
_NOT_READ = "writev,pwritev,pwritev2,truncate,fallocate,renameat,renameat2,link,linkat,unlinkat,copy_file_range"
_LINE = re.compile(r"(?P<thread>\d+) +(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<returned>-?\d+)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>")
_HEX = r"((?:\\x[0-9a-f]{2})*)"
_DESCRIPTOR = re.compile(rf"\d+<{_HEX}>(?!\(deleted\))")
_TEXT = re.compile(rf'"{_HEX}"')
_LAST_NUMBER = re.compile(r", (\d+)$")
_PASSED_OVER = (".lock", "-shm")  # made anew by who comes after a loss of power

Kind: TypeAlias = Literal["make", "write", "cut", "sync", "sync names", "rename", "remove", "say"]


class Deed(NamedTuple):
    """One thing that was done in the folder.

    Attributes:
        kind: What it was.
        name: The file.
        content: What was written, or said.
        place: Where it was written, or to which length the file was cut.
        other: The new name, if it was renamed.
    """

    kind: Kind
    name: str = ""
    content: bytes = b""
    place: int = 0
    other: str = ""


def recorded(folder: Path, module: str, *arguments: str) -> list[Deed]:
    """Run a module of Python and return what it did in a folder, and said on its standard output, in order.

    What it says counts from when it begins to say it, all else from when it is done.
    """
    if sys.platform != "linux":
        pytest.skip("calls of the system are recorded by strace, which is for Linux")
    if shutil.which("strace") is None:
        pytest.skip("no strace here, which records what is written and synced: apt-get install strace")
    trace = folder.parent / f"{folder.name}.strace"
    command = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "1000000", "-o", str(trace)]
    ended = subprocess.run(
        [*command, f"--trace={_BY_DESCRIPTOR},{_BY_NAME},{_NOT_READ}", sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended
    return list(_deeds(trace.read_text("ascii"), f"{folder}/"))


def _calls(trace: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield each call, whether it is over, and whether it was yielded before, when it began."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        found = _LINE.fullmatch(line)
        assert found is not None, line
        thread, rest = found["thread"], found["rest"]
        if rest.endswith(" <unfinished ...>"):
            begun[thread] = rest.removesuffix(" <unfinished ...>")
            yield f"{begun[thread]}) = 0", False, False
        elif _RESUMED.match(rest):
            yield begun.pop(thread) + _RESUMED.sub("", rest), True, True
        else:
            yield rest, True, False


def _deeds(trace: str, folder: str) -> Iterator[Deed]:
    ends = Counter[str]()  # where `write` goes on
    for call, is_over, was_told in _calls(trace):
        found = _CALL.match(call)
        if found is None or int(found["returned"]) < 0:
            continue
        arguments = found["arguments"]
        if arguments.startswith("1<"):
            if found["name"] == "write" and not was_told:
                yield Deed("say", content=_texts(arguments)[0])
        elif is_over:
            deed = _deed(found["name"], arguments, folder)
            if found["name"] == "write" and deed is not None:
                deed = deed._replace(place=ends[deed.name])
                ends[deed.name] += len(deed.content)
            if deed is not None:
                yield deed


def _deed(call: str, arguments: str, folder: str) -> Deed | None:
    """Return what a call did, or `None` if that was elsewhere or changed nothing."""
    texts = _texts(arguments)
    names = [os.fsdecode(text) for text in texts]
    if call in _BY_DESCRIPTOR:
        opened = _DESCRIPTOR.match(arguments)
        names = [os.fsdecode(_bytes(opened[1]))] if opened else [""]
        if f"{names[0]}/" == folder:
            return Deed("sync names")
    inside = [name.removeprefix(folder) for name in names if name.startswith(folder)]
    if not inside or "/" in inside[0] or inside[0].endswith(_PASSED_OVER):
        return None
    last = _LAST_NUMBER.search(arguments)
    number = int(last[1]) if last else 0
    name = inside[0]
    if call == "openat":
        assert "O_TRUNC" not in arguments, arguments
        return Deed("make", name) if "O_CREAT" in arguments else None
    known = {
        "write": Deed("write", name, texts[0] if texts else b""),
        "pwrite64": Deed("write", name, texts[0] if texts else b"", number),
        "ftruncate": Deed("cut", name, place=number),
        "fsync": Deed("sync", name),
        "fdatasync": Deed("sync", name),
        "rename": Deed("rename", name, other=inside[-1]),
        "unlink": Deed("remove", name),
    }
    return known[call]


def _texts(arguments: str) -> list[bytes]:
    return [_bytes(text) for text in _TEXT.findall(arguments)]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
