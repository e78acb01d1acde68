"""Looks at pages in a real browser: what its developer tools say, how wide pages are, what axe finds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.base import AXE_SCRIPT  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, ViewportSize, sync_playwright

EXECUTABLES = (Path("/usr/bin/chromium"), Path("/usr/bin/chromium-browser"), Path("/usr/bin/google-chrome"))
MISSING = "chromium is not installed (apt-get install chromium): pages were not looked at in a real browser"
PHONE, WIDE = ViewportSize(width=375, height=800), ViewportSize(width=1440, height=900)
SERIOUS = ("serious", "critical")


def executable() -> Path | None:
    """Return where chromium is, or None."""
    return next((each for each in EXECUTABLES if each.exists()), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start chromium without a window."""
    found = executable()
    assert found is not None, MISSING
    with sync_playwright() as playwright:
        # In a container there is no user namespace for its sandbox, and root may not use one; what it opens is ours.
        browser = playwright.chromium.launch(
            executable_path=str(found), args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


class Onlooker:
    """Somebody with a browser who notes whatever is wrong with the pages that he opens."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.url = url
        self.troubles: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("requestfailed", self._note_failure)
        self.page.set_default_timeout(10_000)

    def _note_failure(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # we went on to another page before the icon had come
            self.troubles.append(f"{request.url}: {request.failure}")

    def _note(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.troubles.append(f"{self.page.url}: {said.text}")

    def sign_in(self, link: str) -> None:
        """Use a link such as `make run` prints."""
        self.page.goto(link)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/console/**")

    def open(self, path: str) -> Page:
        """Open a page of the console."""
        self.page.goto(f"{self.url}{path}")
        return self.page

    def widths(self) -> list[str]:
        """Return at which widths the page that is open must be scrolled sideways."""
        wrong = []
        for size in (PHONE, WIDE):
            self.page.set_viewport_size(size)
            over = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if over > 0:
                wrong.append(f"{self.page.url} at {size['width']} px is {over} px too wide")
        return wrong

    def findings(self, rules: Sequence[str] = ()) -> list[str]:
        """Return what axe finds on the page that is open and thinks serious, by all of its rules or by some."""
        options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        found = self.page.evaluate("async options => (await axe.run(options)).violations", options)
        return [
            f"{self.page.url}: {each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes']][:3]}"
            for each in found
            if each["impact"] in SERIOUS
        ]

    def picture(self, file: Path) -> None:
        """Keep how the page looks, from top to bottom."""
        self.page.screenshot(path=str(file), full_page=True)
