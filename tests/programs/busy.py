"""Call a function that never returns, beside an idle subprocess: `python -m tests.programs.busy BACKEND IDLE BUSY`."""

import sys

import anyio

from tests.programs import crunching
from tests.subprocessing import call_in_subprocess, run


async def main(idle: str, busy: str) -> None:
    """Have two subprocesses write their pids."""
    async with anyio.create_task_group() as group:
        for own, other in ((idle, busy), (busy, idle)):
            group.start_soon(call_in_subprocess, crunching.meet, f"{own}.here", f"{other}.here")
    async with anyio.create_task_group() as group:
        group.start_soon(call_in_subprocess, crunching.spin, busy, "")
        group.start_soon(call_in_subprocess, crunching.write_pid, idle)


if __name__ == "__main__":
    try:
        run(main, *sys.argv[2:], backend=sys.argv[1])
    except* KeyboardInterrupt:
        print("interrupted")  # noqa: T201 (its one output)
