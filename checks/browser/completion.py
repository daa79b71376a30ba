"""Names of packages, which the front page completes."""

import time

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from front_page import commands
from tap import equal, wait_until


class Suggestions:
    """What is suggested for the name that is typed last."""

    def __init__(self, browser):
        self.browser = browser

    def names(self):
        """Those that are seen."""
        return self.browser.run(
            """
            return [...document.querySelectorAll("#suggestions [role=option]")]
              .filter((option) => option.checkVisibility()).map((option) => option.textContent);
            """
        )

    def option(self, name):
        listed = "//*[@id='suggestions']//*[@role='option']"
        return self.browser.driver.find_element(By.XPATH, f"{listed}[. = '{name}']")

    def appear_for(self, text, name, seconds=10):
        """Types `text`, and waits until `name` is among them."""
        self.browser.one("#packages").send_keys(Keys.CONTROL, "a")
        self.browser.one("#packages").send_keys(text)
        wait_until(f"{name} for {text}", lambda: name in self.names(), seconds)
        equal(self.attribute("aria-expanded"), "true")

    def disappear(self):
        wait_until("there are none", lambda: not self.names(), 5)
        equal(self.attribute("aria-expanded"), "false")

    def attribute(self, name):
        return self.browser.one("#packages").get_attribute(name)

    def chosen(self):
        """The one that a screen reader tells."""
        identity = self.attribute("aria-activedescendant")
        active = self.browser.one(f"#suggestions #{identity}").text if identity else None
        marked = [one.text for one in self.browser.all("#suggestions [aria-selected=true]")]
        equal(marked, [active] if active else [])
        return active


def completes(report, browser, host, look):
    """Package names, completed from the package set's attributes."""
    suggestions = Suggestions(browser)
    with report.test("package names are completed"):
        browser.open("/")
        # They are listed in the background after the server was started.
        suggestions.appear_for("hto", "htop", 60)
        equal(suggestions.chosen(), None)
    with report.test("… and chosen with keys"):
        while suggestions.chosen() != "htop":
            before = suggestions.chosen()
            browser.press(Keys.ARROW_DOWN)
            assert suggestions.chosen() not in (None, before), before
    look("a list of suggestions", "completion")
    with report.test("… how many there are is told, and not hidden by them"):
        browser.shows("1 name", "#hint")
        hint, names = browser.one("#hint").rect, browser.one("#suggestions").rect
        assert hint["y"] + hint["height"] <= names["y"], (hint, names)
    with report.test("… and stay chosen when the list comes again"):
        # As it does while names are still being listed.
        browser.run("packages.dispatchEvent(new Event('input', { bubbles: true }))")
        time.sleep(1)
        equal(suggestions.chosen(), "htop")
    with report.test("… with Enter"):
        browser.press(Keys.ENTER)
        suggestions.disappear()
        equal(browser.path, "/")
        commands(browser, f"docker run --rm -ti {host}/shell/htop bash")
    with report.test("… with the mouse, the last of several"):
        suggestions.appear_for("git hto", "htop")
        suggestions.option("htop").click()
        suggestions.disappear()
        commands(browser, f"docker run --rm -ti {host}/shell/git/htop bash")
    with report.test("… in front of another, without a gap"):
        suggestions.appear_for("hto", "htop")
        browser.press(Keys.ESCAPE)
        browser.one("#packages").send_keys(",jq", *[Keys.ARROW_LEFT] * 3)
        browser.press(Keys.ARROW_DOWN)
        wait_until("htop", lambda: "htop" in suggestions.names(), 5)
        suggestions.option("htop").click()
        equal(suggestions.attribute("value"), "htop jq")
    with report.test("… by Enter only if one was chosen, and nothing is made"):
        suggestions.appear_for("hto", "htop")
        equal(suggestions.chosen(), None)
        browser.press(Keys.ENTER)
        suggestions.disappear()
        equal(browser.text("#problem"), "")
        equal(browser.path, "/")
    with report.test("… nor before the list is there"):
        for key in "ENTER", "RETURN":
            browser.one("#packages").send_keys(Keys.CONTROL, "a")
            browser.one("#packages").send_keys("jq", getattr(Keys, key))
            browser.tab_to("#shell")
            browser.press(getattr(Keys, key))
            browser.one("#packages").click()
        time.sleep(1)
        equal(browser.text("#problem"), "")
        equal(browser.path, "/")
    with report.test("a set is completed to what is in it"):
        suggestions.appear_for("python3p", "python3packages.", 30)
        browser.press(Keys.ARROW_DOWN, Keys.ENTER)
        wait_until("a package in it", lambda: "python3packages.requests" in suggestions.names(), 30)
        equal(suggestions.attribute("value"), "python3packages.")
        suggestions.option("python3packages.requests").click()
        commands(browser, f"docker run --rm -ti {host}/shell/python3packages.requests bash")
    with report.test("what stands at the front of names is known, too"):
        for word in ("shell", "amd64", "arm64"):
            suggestions.appear_for(word[:-1], word)
            browser.press(word[-1])
            suggestions.disappear()
            equal(browser.text("#hint"), "")
    with report.test("the server is not asked for what can't be a name"):
        before = len(browser.urls())
        browser.one("#packages").send_keys(Keys.CONTROL, "a")
        for key in "+/?&ä$(":
            browser.press(f"x{key}")
            time.sleep(0.3)
        asked = [url for url in browser.urls()[before:] if "/api/v1/packages?" in url]
        equal([url for url in asked if "prefix=x&" not in url], [])
    with report.test("… and not at all with Escape"):
        suggestions.appear_for("git hto", "htop")
        browser.press(Keys.ESCAPE)
        suggestions.disappear()
        commands(browser, f"docker run --rm -ti {host}/shell/git/hto bash")
    with report.test("… and it is said when there is no such name"):
        suggestions.appear_for("hto", "htop")
        browser.press("xyz")
        suggestions.disappear()
        browser.shows("No package", "#composer", 5)
