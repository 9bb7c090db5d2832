"""A graph's file is replaced at once or stays as it was: kills, full disks, modes, links, folders."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from fusynk import Graph
from fusynk.errors import UnsavableGraph
from tests.depot import depot
from tests.filing import one_layer
from tests.observing import ROOT, program, python
from tests.programs.saver import graphs

posix = pytest.mark.skipif(sys.platform == "win32", reason="kills and modes are those of POSIX")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "graph.json"


@posix
def test_a_kill_at_any_call_leaves_the_former_or_the_new_file(file: Path) -> None:
    found: list[str] = program("saver", "step", str(file))

    turn = found.index("new")
    assert set(found) == {"former", "new"}
    assert found == ["former"] * turn + ["new"] * (len(found) - turn)
    assert turn > 50


@posix
@pytest.mark.parametrize("seed", range(8))
def test_a_kill_at_a_random_instant_leaves_a_whole_file(file: Path, seed: int) -> None:
    whole: set[bytes] = set()
    for graph in graphs():
        graph.save(file)
        whole.add(file.read_bytes())
    command = [sys.executable, "-m", "tests.programs.saver", "loop", str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as saving:
        assert saving.stdout is not None
        assert saving.stdout.readline() == "saved\n"
        time.sleep(Random(seed).uniform(0, 0.1))
        saving.send_signal(signal.SIGKILL)

    assert file.read_bytes() in whole, f"seed {seed}"


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_read_the_file(file: Path, umask: int) -> None:
    for _ in range(2):
        former = os.umask(umask)
        try:
            depot.save(file)
        finally:
            os.umask(former)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@posix
def test_a_file_that_others_may_read_is_closed_to_them(file: Path) -> None:
    file.write_text("former")
    file.chmod(0o666)

    depot.save(file)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_nothing_but_the_file_is_left_in_its_folder(file: Path) -> None:
    depot.save(file)
    depot.save(str(file))
    with pytest.raises(UnsavableGraph):
        one_layer(lambda: 1).save(file)

    assert list(file.parent.iterdir()) == [file]


def test_a_relative_path_is_one_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    depot.save("graph.json")

    assert list(Graph.load("graph.json", allow=["tests."]).units) == list(depot.units)


@posix
def test_a_link_is_replaced_and_what_it_points_at_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("precious")
    link.symlink_to(target)

    depot.save(link)

    assert target.read_text() == "precious"
    assert not link.is_symlink()
    assert link.read_text("utf-8").startswith("{")


def assert_refused(path: Path, number: int, kind: type[OSError]) -> None:
    with pytest.raises(kind) as caught:
        depot.save(path)
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert str(caught.value) == f"[Errno {number}] {os.strerror(number)}: {str(path)!r}"


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    assert_refused(folder, errno.EISDIR, IsADirectoryError)

    assert list(tmp_path.iterdir()) == [folder]


@posix
def test_a_link_to_a_folder_is_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)

    assert_refused(link, errno.EISDIR, IsADirectoryError)

    assert link.is_symlink()


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none" / "graph.json", errno.ENOENT, FileNotFoundError)

    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert_refused(tmp_path / "file" / "graph.json", errno.ENOTDIR, NotADirectoryError)


FULL = """
import json, resource, sys
from pathlib import Path
from tests.programs.saver import graphs
small, large = graphs()
file = Path(sys.argv[1])
small.save(file)
before = file.read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    large.save(file)
except OSError as error:
    print(error.errno, error.filename == str(file), file.read_bytes() == before, len(list(file.parent.iterdir())))
"""


@posix
def test_a_disk_that_is_full_leaves_the_former_file(file: Path) -> None:
    ended = python(FULL, str(file))

    assert ended.stderr == ""
    assert ended.stdout.split() == [str(errno.EFBIG), "True", "True", "1"]
