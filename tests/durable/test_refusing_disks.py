"""A disk without room, a folder that may not be written, no descriptors left: runs are refused by name, and resumed."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.durable.checker import Expected, entries_of
from tests.durable.nursery import Nursery, expected_of, has_said, nursery_of, refusal_of, verdict_of, wait_until
from tests.durable.victim import Backend, Life

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the limits are those of POSIX")
NOBODY = 65534
ROOM = 400_000  # bytes; for a few of the artifacts of "large", and not for all
DISK = 4 << 20
_NAMESPACES = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_of() as made:
        yield made


@pytest.fixture
def life(tmp_path: Path, backend: Backend) -> Life:
    (tmp_path / "journal").mkdir()
    file, log = str(tmp_path / "journal" / "runs.db"), str(tmp_path / "log")
    return Life(shape="large", run_id="run", file=file, log=log, backend=backend, concurrency=1)


def changed(life: Life, **changes: object) -> Life:
    return msgspec.structs.replace(life, **changes)


def counted(life: Life, kind: str) -> int:
    return sum(entry.kind == kind for entry in entries_of(Path(life.log)))


def check(nursery: Nursery, life: Life, expected: Expected, note: str) -> None:
    """Resume a run now that nothing is in its way, and look at all that it did."""
    ended = nursery.lived(life)
    assert ended.kind == "ended", f"{note}: {ended.said}"
    verdict_of(life, expected).check(note)


# A disk without room


def is_possible(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def disk_command(folder: Path) -> list[str]:
    """Return what mounts a small disk there, for a command that follows and for nobody else."""
    mount = ["sh", "-c", f'mount -t tmpfs -o size={DISK} tmpfs "$0" && exec "$@"', str(folder)]
    for namespace in _NAMESPACES:
        command = [*namespace, *mount]
        if (
            shutil.which("unshare")
            and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
        ):
            return command
    pytest.skip("this system lets nobody mount a disk here; the other test has files that may not grow")


def test_a_run_ends_when_the_disk_is_full_and_goes_on_when_there_is_room(tmp_path: Path, life: Life) -> None:
    folder = Path(life.file).parent
    with nursery_of(*disk_command(folder)) as nursery:
        expected = expected_of(nursery, "large", tmp_path)
        disk = Path(f"/proc/{nursery.pid}/root{folder}")  # as the nursery sees it
        filler = disk / "filler"
        filler.write_bytes(bytes(DISK - ROOM))

        refusal = refusal_of(nursery.lived(life))

        assert (refusal.kind, refusal.path, refusal.cause) == ("JournalUnavailable", life.file, "OperationalError")
        assert "disk is full" in refusal.text
        assert counted(life, "told") >= 2, "some steps found room"
        assert refusal_of(nursery.lived(life)).kind == "JournalUnavailable"
        filler.unlink()
        ended = nursery.lived(life)
        assert ended.kind == "ended", ended.said
        shutil.copytree(disk, tmp_path / "copy")
    verdict_of(changed(life, file=str(tmp_path / "copy" / "runs.db")), expected).check("a full disk")


def test_a_run_whose_files_may_not_grow_ends_and_goes_on_when_they_may(
    tmp_path: Path, nursery: Nursery, life: Life
) -> None:
    expected = expected_of(nursery, "large", tmp_path)

    refusal = refusal_of(nursery.lived(changed(life, largest_file=ROOM)))

    assert (refusal.kind, refusal.path, refusal.cause) == ("JournalUnavailable", life.file, "OperationalError")
    assert counted(life, "told") >= 2
    check(nursery, life, expected, "files that may not grow")


# A folder that may not be written


def half_done(nursery: Nursery, life: Life) -> None:
    """Kill a run half-way."""
    log = Path(life.log)
    pid = nursery.begin(life)
    wait_until(lambda: counted(life, "told") >= 3, "nothing is told")
    assert nursery.kill(pid, log)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that everybody may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "half done"])
def test_a_folder_that_may_not_be_written_is_refused_by_name(
    public_folder: Path, nursery: Nursery, life: Life, is_there: bool
) -> None:
    expected = expected_of(nursery, "large", public_folder)
    folder, log = public_folder / "journal", public_folder / "log"
    folder.mkdir()
    life = changed(life, file=str(folder / "runs.db"), log=str(log))
    if is_there:
        half_done(nursery, life)
    log.touch()
    log.chmod(0o666)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    folder.chmod(0o555)

    # Nothing is forbidden to root, so the process has to be somebody else then.
    refusal = refusal_of(nursery.lived(changed(life, user=-1 if os.geteuid() else NOBODY)))

    folder.chmod(0o755)
    assert (refusal.kind, refusal.path) == ("JournalUnavailable", life.file)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    check(nursery, life, expected, "a folder that may not be written")


# No descriptors left


@pytest.mark.parametrize("more", range(12))
def test_a_process_without_descriptors_is_refused_or_goes_on(
    tmp_path: Path, nursery: Nursery, life: Life, more: int
) -> None:
    life = changed(life, shape="mixed")
    expected = expected_of(nursery, "mixed", tmp_path)
    if more % 2:
        half_done(nursery, life)

    ended = nursery.lived(changed(life, descriptors=more))

    if ended.kind == "ended":
        assert more > 3
        assert ended.said == expected.result
    else:
        refusal = refusal_of(ended)
        assert (refusal.kind, refusal.path) == ("JournalUnavailable", life.file)
    check(nursery, life, expected, f"{more} descriptors")


def test_a_run_that_is_going_on_needs_no_more_descriptors(tmp_path: Path, nursery: Nursery, life: Life) -> None:
    life = changed(life, shape="chain")
    expected = expected_of(nursery, "chain", tmp_path)

    check(nursery, changed(life, descriptors=0, descriptors_from="running"), expected, "no descriptors")

    assert has_said(Path(life.log), "told", "c11")
