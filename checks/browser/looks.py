"""How pages look: in light and dark, on a phone, to assistive technology."""

import re

from tap import equal

PHONE = (360, 640)

# The rows of an image's layers.
LAYERS = ".layers tbody tr"


class Look:
    """Looks at a page that a browser shows."""

    def __init__(self, report, browser, axe):
        self.report, self.browser, self.axe = report, browser, axe

    def __call__(self, name, picture):
        """All about the page that is shown, called `name`."""
        browser = self.browser
        with self.report.test(f"{name}: axe finds nothing serious"):
            self.axe.look(browser, name)
            browser.picture(f"{picture}-light")
        with self.report.test(f"{name}: there is contrast in dark colours, too"):
            browser.prefer("dark")
            back = browser.run("return getComputedStyle(document.body).backgroundColor")
            assert max(map(int, back[4:-1].split(","))) < 64, back
            self.axe.look(browser, f"{name}, dark", ["color-contrast", "link-in-text-block"])
            browser.picture(f"{picture}-dark")
        browser.prefer("light")
        with self.report.test(f"{name}: nothing is wider than a phone"):
            browser.be_phone(*PHONE)
            widths = browser.run("return [innerWidth, document.documentElement.scrollWidth]")
            browser.picture(f"{picture}-phone")
            equal(widths, [PHONE[0], PHONE[0]])
        browser.be_desktop()

    def keys(self, name):
        """All that can be used is reached with keys."""
        with self.report.test(f"{name}: keys reach all there is, and it is seen where they are"):
            wanted = self.browser.focusable()
            assert wanted
            met = self.browser.reach(len(wanted))
            equal([one["what"] for one in met], wanted)
            unseen = [one for one in met if one["outline"] < 2 or not one["isInSight"]]
            assert not unseen, unseen


def bars(browser, selector):
    """The bars of a picture of layers, the longest of which is as long as can be."""
    found = browser.all(f"{selector} rect")
    widths = [bar.rect["width"] for bar in found]
    whole = browser.one(f"{selector} svg").rect["width"]
    assert widths and min(widths) > 0, widths
    assert abs(max(widths) - whole) < 2, (widths, whole)
    return widths


def at_all_pages(look):
    browser = look.browser
    for name, picture, path in (
        ("the front page", "front", "/"),
        ("the list of builds", "builds", "/builds"),
        ("an image", "image", "/builds/shell/jq/latest"),
        ("a failed build", "failed", "/builds/failing/latest"),
        ("an image that wasn't made", "not-made", "/builds/arm64/htop/latest"),
        ("an error", "error", "/builds/jq"),
        ("an address with nothing", "nothing", "/nothing"),
    ):
        browser.open(path)
        look(name, picture)
        # Again, as nothing has the focus then.
        browser.open(path)
        look.keys(name)


def at_what_was_loaded(report, browser, origins):
    with report.test("nothing was loaded from anywhere else"):
        urls = [url for url in browser.urls() if not url.startswith("data:,")]
        assert len(urls) > 5, urls
        strange = [url for url in urls if not url.startswith(tuple(f"{one}/" for one in origins))]
        assert not strange, strange
    with report.test("nothing went wrong that browsers tell their console"):
        # Answers that are errors are told there, too.
        known = re.compile(
            r"/api/v1/builds/(shell/)?gti/latest - Failed to load resource: .* 404 "
            r"|/builds/jq - Failed to load resource: .* 400 "
            r"|/nothing - Failed to load resource: .* 404 "
            r"| - Failed to load resource: net::ERR_"
            # Whoever types as fast as this test changes the address too often for it.
            r"|Throttling navigation to prevent the browser from hanging"
        )
        strange = [one for one in browser.console() if not known.search(one)]
        assert not strange, strange
