"""Builds, watched while docker waits for them; and what images consist of."""

import json
import re
import time

from selenium.webdriver.common.by import By

from line import Line
from looks import LAYERS, bars
from registry import ended
from tap import equal, say, wait_until

WATCHERS = 200


def seconds(browser):
    return float((browser.text("#seconds") or "0").split()[0])


def says_what_to_do_without_any(report, browser, host, look):
    with report.test("as long as nothing was made, the list of builds says how that is done"):
        browser.open("/builds")
        browser.shows(f"docker pull {host}/shell/git/jq", "#pull")
        equal(browser.one("main p a").get_attribute("href"), f"{browser.origin}/")
    look("an empty list of builds", "no-builds")


def shows_what_was_pulled(report, browser, registry):
    with report.test("docker pulls shell/jq"):
        status, output, _ = ended(registry.pull("shell/jq"), 120)
        equal(status, 0)
    with report.test("its page has the packages that were asked for, with versions"):
        browser.open("/builds/shell/jq/latest")
        browser.shows("made", "#state")
        packages = [one.text for one in browser.all("main ul li")]
        for name in ("jq", "bash", "coreutils"):
            found = [one for one in packages if re.match(rf"{name}\w* \d", one)]
            assert found, f"{name} is not in {packages}"
    with report.test("… its layers, with sizes and bars"):
        layers = browser.all(LAYERS)
        _, image = registry.ask("/api/v1/images/shell/jq/latest")
        image = json.loads(image)
        equal(len(layers), len(image["layers"]))
        for layer in layers:
            assert re.match(r"\d+\s+\d+(\.\d)? [kMG]?B\s+\S", layer.text), layer.text
        # Longer bars for larger layers.
        lengths, sizes = bars(browser, ".layers"), [layer["size"] for layer in image["layers"]]
        equal(len(lengths), len(sizes))
        order = sorted(range(len(sizes)), key=sizes.__getitem__)
        equal(order, sorted(order, key=lengths.__getitem__))
    with report.test("… and which of them other images share"):
        shared = [one.text for one in layers if "also in jq" in one.text]
        wanted = [one for one in image["layers"] if "jq" in one["shared_with"]]
        assert wanted
        equal(len(shared), len(wanted))
        equal(len(browser.all(".layers rect.shared")), len(wanted))
    with report.test("… a picture of them, each part of which leads to its row"):
        parts = browser.all(".strip a")
        equal(len(parts), len(layers))
        parts[-1].click()
        equal(browser.run("return location.hash"), f"#layer-{len(layers)}")
        target = browser.one(".layers tr:target")
        assert "links to the packages" in target.text, target.text
        assert browser.run(
            "const { top, bottom } = arguments[0].getBoundingClientRect();"
            "return top >= 0 && bottom <= innerHeight",
            target,
        )
    with report.test("… and when it was made, in words that are easily read"):
        browser.shows("in ", "#state")
        ago = browser.one("main time")
        assert re.fullmatch(r"just now|\d+ minutes? ago", ago.text), ago.text
        assert ago.get_attribute("title").endswith(" UTC"), ago.get_attribute("title")


def is_watched(report, browser, registry, look):
    pull = registry.pull("talking")
    try:
        with report.test("while docker pulls, the page shows its build"):
            wait_until("the build", lambda: registry.build("talking"))
            browser.open("/builds/talking/latest")
            browser.shows("step 1 of <three> & more", "#log")
            browser.shows("Nix is fetching or building", "#state")
            browser.run("window.isTheSamePage = true")
            equal(browser.driver.title, "being made: talking:latest – Nixery")
        with report.test("… which of its steps is in progress"):
            equal([one.text for one in browser.all("#steps .done")], ["Look up", "Wait for others"])
            equal(browser.text("#steps [aria-current=step]"), "Nix")
        with report.test("… and how long it has taken"):
            before = seconds(browser)
            wait_until("time goes on", lambda: seconds(browser) > before + 0.5, 5)
        with report.test("… docker waits"):
            equal(pull.poll(), None)
            assert "step 2" not in browser.text("#log")
        with report.test("… it is in the list of builds"):
            builds = json.loads(registry.ask("/api/v1/builds")[1])["builds"]
            assert any((one["image"], one["state"]) == ("talking", "nix") for one in builds), builds
        look("a running build", "running")
        for step in (2, 3):
            with report.test(f"… line {step} appears when Nix prints it, on the same page"):
                registry.open_gate("talking", step - 1)
                browser.shows(f"step {step}", "#log", 5)
                assert step == 3 or "step 3" not in browser.text("#log")
                assert browser.run("return window.isTheSamePage")
        with report.test("… then the image, without a reload by hand"):
            registry.open_gate("talking", 3)
            browser.shows("made", "#state")
            browser.shows(f"docker pull {registry.address}/talking:latest", "#pull")
            wait_until("layers", lambda: browser.all(LAYERS), 5)
            equal(browser.driver.title, "talking:latest – Nixery")
            browser.shows("step 3", "#log")
        with report.test("… and docker has it"):
            status, output, took = ended(pull)
            equal(status, 0)
            assert took < 15, f"docker took {took:.0f} s longer"
    finally:
        registry.open_gate("talking", 3)
        ended(pull)


def outlives_a_lost_connection(report, browser, registry):
    line = Line(registry.port)
    pull = registry.pull("interrupted")
    with report.test("a page says when the server can't be reached"):
        wait_until("the build", lambda: registry.build("interrupted"))
        browser.open("/builds/interrupted/latest", f"http://localhost:{line.port}")
        browser.shows("said before", "#log")
        line.cut()
        browser.shows("can't be reached", "#state")
        browser.picture("unreachable")
    with report.test("… goes on when it can, with what was said meanwhile"):
        registry.open_gate("interrupted", 1)
        wait_until("the line", lambda: "said meanwhile" in registry.build("interrupted")["log"])
        line.mend()
        browser.shows("said meanwhile", "#log")
        browser.shows("Nix is fetching or building", "#state")
    with report.test("… and says nothing twice"):
        equal(browser.text("#log").count("said before"), 1)
    registry.open_gate("interrupted", 2)
    with report.test("… until the end"):
        browser.shows("made", "#state")
        equal(ended(pull)[0], 0)
    line.cut()
    return line.port


def fails(report, browser, registry):
    pull = registry.pull("failing")
    with report.test("a build that will fail is watched as well"):
        wait_until("the build", lambda: registry.build("failing"))
        browser.open("/builds/failing/latest")
        browser.shows("looking for a reason to fail", "#log")
        equal(pull.poll(), None)
    registry.open_gate("failing", 1)
    with report.test("… and ends with the error, and with the log"):
        browser.shows("failed", "#state")
        browser.shows("this package never builds", "pre.error")
        browser.shows("looking for a reason to fail", "#log")
        equal(browser.text("#steps .failed"), "Nix")
    with report.test("… and leads to the composer, with what is in it"):
        browser.driver.find_element(By.LINK_TEXT, "Change it in the composer").click()
        browser.shows(f"docker pull {registry.address}/failing", "#command", 5)
        equal(browser.one("#packages").get_attribute("value"), "failing")
    with report.test("… which docker is told, and where there is more"):
        status, output, _ = ended(pull)
        assert status != 0, output
        assert "this package never builds" in output, output
        assert f"http://{registry.address}/builds/failing/latest" in output, output
    with report.test("… it is in the list of builds"):
        browser.open("/builds")
        browser.shows("failing:latest", "table")
        browser.shows("failed", "td.failed")


def make_chatty(registry, image):
    """Lets a build go on that prints much; how long it takes from there."""
    registry.open_gate(image, 1)
    began = time.monotonic()
    wait_until("it ends", lambda: registry.build(image)["state"] in ("made", "failed"), 60)
    equal(registry.build(image)["state"], "made")
    return time.monotonic() - began


def has_many_watchers(report, browser, registry, pool):
    """One of them doesn't read; the browser is another."""
    with report.test("a build that prints a megabyte is made"):
        making = pool.submit(registry.make, "chatty-alone")
        wait_until("the build", lambda: registry.build("chatty-alone"))
        alone = make_chatty(registry, "chatty-alone")
        equal(making.result()[0], 200)
    making = pool.submit(registry.make, "chatty-watched")
    wait_until("the build", lambda: registry.build("chatty-watched"))
    watching = pool.submit(registry.watch, "chatty-watched", WATCHERS)
    silent = registry.watch_without_reading("chatty-watched")
    browser.open("/builds/chatty-watched/latest")
    with report.test(f"{WATCHERS} watchers, and one that never reads, don't keep it up"):
        watched = make_chatty(registry, "chatty-watched")
        say(f"it took {watched:.1f} s, and {alone:.1f} s with nobody watching")
        assert watched < 2 * alone + 10, (alone, watched)
        equal(making.result()[0], 200)
    with report.test("… nor the browser, which shows the last line and the image"):
        browser.shows("made", "#state", 10)
        browser.shows("all is said", "#log", 10)
    with report.test("… and all of them are told its end"):
        told = watching.result()
        equal(len(told), WATCHERS)
        for text in told:
            assert text.startswith("HTTP/1.1 200"), text[:200]
            assert "all is said" in text and "event: end" in text, text[-500:]
    with report.test("… while the one that doesn't read is still there"):
        silent.settimeout(5)
        assert silent.recv(100).startswith(b"HTTP/1.1 200")
    silent.close()


def is_made_before_it_is_pulled(report, registry):
    with report.test("POST begins the build of an image, and answers at once"):
        before = registry.nix_runs()
        began = time.monotonic()
        status, content = registry.ask("/api/v1/builds/cold/latest", "POST")
        assert status == 202 and json.loads(content)["state"] != "made", (status, content)
        assert time.monotonic() - began < 1.9
    with report.test("… which GET tells the end of"):
        wait_until("it is made", lambda: registry.build("cold")["state"] == "made")
        made = registry.nix_runs()
        assert made > before, (before, made)
    with report.test("… docker then pulls it"):
        status, output, took = ended(registry.pull("cold"))
        equal(status, 0)
        say(f"docker pulled it in {took:.1f} s")
    with report.test("… without any run of Nix"):
        equal(registry.nix_runs(), made)
