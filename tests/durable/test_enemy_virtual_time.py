"""Virtual time beside the threads that a journal is called in."""

import threading

import anyio
import pytest

from fusynk._runtime.backend import loop_poster
from fusynk.testing import run_virtual


def test_news_of_a_thread_that_ends_while_the_loop_looks_for_others_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    may_tell = threading.Event()
    tellers: list[threading.Thread] = []
    enumerate_threads = threading.enumerate

    def enumerate_after_the_news() -> list[threading.Thread]:
        may_tell.set()
        for teller in tellers:
            teller.join()
        return enumerate_threads()

    async def wait_for_news() -> str:
        over, post = anyio.Event(), loop_poster()

        def tell() -> None:
            _ = may_tell.wait()
            post(over.set)

        tellers.append(threading.Thread(target=tell))
        tellers[0].start()
        monkeypatch.setattr(threading, "enumerate", enumerate_after_the_news)
        await over.wait()
        return "heard"

    assert run_virtual(wait_for_news) == "heard"
