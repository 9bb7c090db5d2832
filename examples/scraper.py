"""Scrapes a site that is not well: flaky pages are tried again, broken ones are told, and nothing is lost.

    python examples/scraper.py --pages 24

One worker goes over all pages by `run_items`, at most four at once and twenty a second. Each quarter of the way it
reports a milestone, which is printed when it is reached. The report at the end says which pages could not be had, and
why. With fewer than `--least` percent of the pages the worker fails, and the manager knows. Ctrl-C ends it at once,
and tells what had been scraped until then.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
from scripts import Parser, leave_with

from fusynk import Batch, Limit, Manager, Progress, backoff, batch_of, milestone, run_items, worker
from fusynk.manager.events import MilestoneReached
from fusynk.testing import run_virtual

QUARTERS = (25, 50, 75, 100)  # percent at which a milestone is reported


class PageError(Exception):
    """The site did not send a page."""


class Unavailable(PageError):
    """It may send it another time."""


class NotFound(PageError):
    """It never will."""


class TooFewPages(Exception):
    """A scrape brought too little to be of use."""


@dataclass(slots=True)
class Site:
    """A site. Every fifth page is refused the first time, and every thirteenth is not there.

    Attributes:
        seconds: How long a page takes.
        requests: How often each page was asked for.
    """

    seconds: float = 0.1
    requests: Counter[str] = field(default_factory=Counter[str])

    async def fetch(self, path: str) -> str:
        """Returns a page.

        Raises:
            PageError: It is not sent.
        """
        self.requests[path] += 1
        await anyio.sleep(self.seconds)
        number = int(path.rpartition("/")[2])
        if number % 13 == 0:
            raise NotFound("404 not found")
        if number % 5 == 0 and self.requests[path] == 1:
            raise Unavailable("503 try again later")
        return f"<html>product {number}</html>"


@dataclass(slots=True)
class Milestones:
    """Reports each quarter of the way once. `run_items` calls it after each page, in the context of the worker.

    Attributes:
        to_come: The quarters that were not reached yet.
    """

    to_come: list[int] = field(default_factory=lambda: list(QUARTERS))

    def __call__(self, progress: Progress) -> None:
        """Reports a quarter that was reached."""
        while self.to_come and progress.percentage >= self.to_come[0]:
            percent = self.to_come.pop(0)
            milestone("scraped", percent=percent, done=progress.done, failed=progress.failed)


@worker(description="has all pages of the site")
async def scrape(site: Site, paths: Sequence[str], least: float) -> Batch[str]:
    """Returns the pages, and the errors of those that could not be had."""
    try:
        pages = await run_items(
            paths,
            site.fetch,
            key=str,
            retries=2,
            retry_delay=backoff(0.1, jitter=False),
            retry_on=Unavailable,  # another attempt would not find what is not there
            timeout=2,
            limit=Limit("site", concurrency=4, rate="20/s"),
            on_progress=Milestones(),
        )
    except anyio.get_cancelled_exc_class() as cancellation:
        partial = batch_of(cancellation)
        if partial is not None:
            print(f"Cut off: {len(partial)} of {partial.total} pages were had, {len(partial.failed)} not.", flush=True)
        raise
    if pages.success_percentage < least:
        raise TooFewPages(f"{pages.success_percentage:.0f} % of the pages were had, of which {least:g} % are needed")
    return pages


def show(event: MilestoneReached) -> None:
    """Prints how far it is."""
    done, failed = event.values["done"], event.values["failed"]
    print(f"{event.values['percent']:>3} %  {done} pages, {failed} failed", flush=True)


async def scrape_all(site: Site, pages: int, least: float) -> Batch[str]:
    """Scrapes a site, and returns what could be had.

    Raises:
        TooFewPages: That is too little.
    """
    paths = [f"/products/{number}" for number in range(1, pages + 1)]
    async with Manager(scrape) as manager:
        manager.on_milestone(show, unit=scrape, name="scraped")  # `run_items` reports one of its own for every page
        return await manager.run(scrape, site=site, paths=paths, least=least)
    raise AssertionError


def report(pages: Batch[str], site: Site) -> str:
    """Returns what is to be said of a scrape."""
    again = sum(count - 1 for count in site.requests.values())
    lines = [f"{len(pages)} of {pages.total} pages were had ({pages.success_percentage:.1f} %), {again} retries."]
    lines += [f"  {path}: {type(error).__name__}: {error}" for path, error in pages.failures.items()]
    return "\n".join(lines)


def command_line() -> Parser:
    """Returns the parser of the options."""
    parser = Parser(description="Scrape a site that is not well.")
    parser.add_argument("--pages", type=int, default=24, help="how many it has (default: %(default)s)")
    parser.add_argument("--least", type=float, default=80, help="percent that are needed (default: %(default)s)")
    parser.add_argument("--simulate", action="store_true", help="in virtual time: no waiting")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = command_line()
    options = parser.parse_args(arguments)
    if options.pages < 1:
        parser.error(f"--pages must be 1 or more, not {options.pages}")
    start, site = run_virtual if options.simulate else anyio.run, Site()
    try:
        pages = start(scrape_all, site, options.pages, options.least)
    except TooFewPages as error:
        print(f"\nThe scrape failed: {error}.")
        return 1
    print(f"\n{report(pages, site)}")
    return 0


if __name__ == "__main__":
    leave_with(main)
