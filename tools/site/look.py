"""Open the built site in Chromium without a network: every page at three widths, light and dark.

A page must load without a failed request and without a word in the console, must not scroll sideways, and must have no
serious accessibility problem that axe-core finds. Pictures of all pages go to build/pictures.
"""

from __future__ import annotations

import functools
import http.server
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, TimeoutError

from tests.dashboard.server import CHROMIUM, chromium
from tools.site.check import MAX_FRONT_PAGE, MAX_PAGE
from tools.site.stage import ROOT
from transfer_utils.errors import UserError
from transfer_utils.utils.npm import Package, package_files
from transfer_utils.utils.text import counted

SITE, PICTURES = ROOT / "site", ROOT / "build" / "pictures"
# Every name but the server's leads nowhere, so a request to another site fails and is seen.
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
WIDTHS, MODES = (1440, 800, 390), ("light", "dark")
WORD = "trainable"  # a word that several chapters explain
CLASSIFIER = "classifier.html"
AXE = Package(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
)
SERIOUS = "r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))"


def main() -> int:
    """Look at the pages named on the command line, or at all but those of single functions; return the exit status."""
    if not (SITE / "index.html").is_file():
        print("Error: there is no site to look at. Run `make site` first.", file=sys.stderr)
        return 1
    if not CHROMIUM:
        print("Error: Chromium is not installed (Debian: apt-get install chromium).", file=sys.stderr)
        return 1
    try:
        axe()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    names = sys.argv[1:] or sorted(
        path.relative_to(SITE).as_posix()
        for path in SITE.rglob("*.html")
        if not {"_static", "_modules", "generated"} & set(path.relative_to(SITE).parts)
    )
    problems = []
    with served(SITE) as address, chromium(NO_NETWORK) as browser:
        for name in names:
            for width in WIDTHS:
                for mode in MODES:
                    seen = look(browser, address, name, width, mode)
                    problems += [f"{name} at {width} px, {mode}: {each}" for each in seen]
            print(f"{name}: {counted(sum(each.startswith(f'{name} ') for each in problems), 'problem')}", flush=True)
        problems += search(browser, address)
        if (SITE / CLASSIFIER).exists():
            problems += classify(browser, address)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(names)} pages, {counted(len(problems), 'problem')}; pictures in {PICTURES.relative_to(ROOT)}.")
    return bool(problems)


def look(browser: Browser, address: str, name: str, width: int, mode: str) -> list[str]:
    """Open a page, take its picture, and return what is wrong with it."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=mode)
    page, problems, sizes = context.new_page(), [], []
    page.on("console", lambda message: problems.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("requestfailed", lambda request: problems.append(f"failed: {request.url} {request.failure}"))
    page.on("response", lambda answer: answer.ok or problems.append(f"{answer.status}: {answer.url}"))
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    page.goto(f"{address}/{name}", wait_until="networkidle")
    try:
        page.wait_for_function("mode => document.documentElement.dataset.theme === mode", arg=mode)
    except TimeoutError:
        problems.append(f"the theme is {page.evaluate('document.documentElement.dataset.theme')}")
    too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if too_wide > 0:
        problems.append(f"scrolls sideways by {too_wide} px")
    limit = MAX_FRONT_PAGE if name == "index.html" else MAX_PAGE
    if sum(sizes) > limit:
        problems.append(f"loads {sum(sizes):,} bytes; at most {limit:,} are allowed")
    problems += accessibility(page)
    picture = PICTURES / f"{name.removesuffix('.html').replace('/', '-')}-{width}-{mode}.png"
    page.screenshot(path=picture, full_page=True, animations="disabled")  # the sidebar slides in
    context.close()
    return problems


def search(browser: Browser, address: str) -> list[str]:
    """Search for a word of the course, and return what is wrong with the answer."""
    page = browser.new_page()
    page.goto(f"{address}/search.html?q={WORD}")
    try:
        page.locator("#search-results li a").first.wait_for(timeout=30_000)
    except TimeoutError:
        return [f"search.html finds no page with {WORD!r}"]
    finally:
        page.close()
    return []


def classify(browser: Browser, address: str) -> list[str]:
    """Let the classifier tell its first example, a nought, and return what is wrong with the answer."""
    page = browser.new_page()
    page.goto(f"{address}/{CLASSIFIER}")
    page.get_by_role("button", name="Example 1", exact=True).click()
    try:
        page.locator(".demo-bars li").first.wait_for(timeout=60_000)
        answer = page.locator(".demo-answer").inner_text()
        return [] if answer == "0" else [f"{CLASSIFIER} takes a nought for {answer!r}"]
    except TimeoutError:
        return [f"{CLASSIFIER} gives no answer; it says {page.locator('.demo-problem').inner_text()!r}"]
    finally:
        page.close()


@functools.cache
def axe() -> str:
    """Return the script of axe-core.

    Raises:
        UserError: it is neither in the cache nor available from the npm registry.
    """
    return package_files(AXE, ["axe.min.js"])["axe.min.js"].decode()


def accessibility(page: Page) -> list[str]:
    """Return the serious problems that axe-core finds."""
    page.evaluate(axe())
    # Without "preload", which fetches what style sheets import, from the wrong folder.
    violations = page.evaluate(f"axe.run({{preload: false}}).then({SERIOUS})")
    return [f"{each['id']}: {each['help']} ({node['target'][0]})" for each in violations for node in each["nodes"][:3]]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine; yield the address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Print nothing: the browser reports what fails."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
