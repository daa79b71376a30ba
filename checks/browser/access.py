"""Where one has to log in: nobody is asked for a password who only looks."""

import time

from selenium.webdriver.common.keys import Keys

from chromium import OTHER_HOST
from completion import Suggestions
from looks import LAYERS
from tap import equal, wait_until

# Longer than between two looks for the layers.
A_WHILE = 7


def needs_a_login(report, browser, address, user):
    """A server that has nothing for those who haven't logged in; `user` is NAME:PASSWORD."""
    origin, login = f"http://{address}", f"http://{user}@{address}/login"
    port = address.rpartition(":")[2]
    for what, where in (("", origin), (", also where browsers say nothing", f"http://{OTHER_HOST}:{port}")):
        with report.test(f"who looks at the front page is asked for no password{what}"):
            browser.open("/", where)
            time.sleep(A_WHILE)
            for key in "git hto":
                browser.one("#packages").send_keys(key)
                time.sleep(0.3)
            browser.press(Keys.TAB)
            time.sleep(1)
            equal(browser.challenges(), [])
        with report.test("… but told how to log in"):
            browser.shows("Log in to see", "#composer")
    with report.test("… where the browser asks, and nowhere else"):
        browser.open("/", origin)
        browser.shows("Log in to see", "#composer")
        equal(browser.challenges(), [])
        browser.one("#login a").click()
        wait_until("the question", browser.challenges, 10)
        equal(browser.path, "/login")
    with report.test("the page of an image leads there, too"):
        browser.open("/builds/jq/latest", origin)
        equal(browser.path, "/login")
    with report.test("whoever has logged in is back at the composer, as they left it"):
        browser.driver.get(f"{login}#packages=jq&shell=no")
        wait_until("the front page", lambda: browser.path == "/", 10)
        equal(browser.one("#packages").get_attribute("value"), "jq")
    browser.challenges()
    with report.test("… and sees names"):
        # Without the password in its address, with which pages can fetch nothing.
        browser.open("/#packages=jq&shell=no", origin)
        Suggestions(browser).appear_for("hto", "htop", 60)
        assert not browser.one("#login").is_displayed()
    with report.test("… has images made"):
        browser.open("/builds", origin)
        browser.open("/#packages=jq&shell=no", origin)
        browser.button("Make it now").click()
        wait_until("the page", lambda: browser.path == "/builds/jq/latest", 10)
        browser.shows("made", "#state", 60)
    with report.test("… and sees layers"):
        browser.open("/#packages=jq&shell=no", origin)
        wait_until("layers", lambda: browser.all(f"#layers {LAYERS}"), 10)
    with report.test("… without being asked again"):
        equal(browser.challenges(), [])


def has_something_for_all(report, browser, address):
    """A server where everybody may pull, and those who log in may have images made."""
    origin = f"http://{address}"
    with report.test("who may pull without logging in is asked for no password"):
        browser.open("/", origin)
        for key in "git hto":
            browser.one("#packages").send_keys(key)
            time.sleep(0.3)
        time.sleep(A_WHILE)
        equal(browser.challenges(), [])
    with report.test("… but told how to log in to have something made"):
        browser.open("/#packages=htop", origin)
        browser.button("Make it now").click()
        browser.shows("Log in to have images made", "#composer", 10)
        browser.shows("log in", "#said", 5)
        equal(browser.challenges(), [])
