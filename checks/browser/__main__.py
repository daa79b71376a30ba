"""Looks at the server's pages with Chromium.

Called by checks/browser.sh, with a server and a Docker daemon that run.
"""

import argparse
import contextlib
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import access
import builds
import clients
import completion
import front_page
import looks
from axe import Axe
from chromium import OTHER_HOST, Browser
from registry import Registry
from tap import Report, say


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    for name in ("server", "gates", "axe", "screenshots", "work", "closed", "mixed", "user"):
        arguments.add_argument(f"--{name}", required=True)
    given = arguments.parse_args()
    # So that the browser is ended as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    report, registry = Report(), Registry(given.server, given.gates)
    origin = f"http://{given.server}"
    with ThreadPoolExecutor() as pool, contextlib.ExitStack() as browsers:
        browser = start(browsers, report, given, origin, "browser")
        say(f"Chromium {browser.driver.capabilities['browserVersion']}")
        look = looks.Look(report, browser, Axe(given.axe))
        origins = with_javascript(report, browser, registry, pool, look)
        looks.at_what_was_loaded(report, browser, origins)
        browser = start(browsers, report, given, origin, "without-javascript", javascript=False)
        front_page.without_javascript(report, browser, given.server)
        looks.at_what_was_loaded(report, browser, [origin])
        browser = start(browsers, report, given, origin, "logged-in")
        access.needs_a_login(report, browser, given.closed, given.user)
        browser = start(browsers, report, given, origin, "logged-out")
        access.has_something_for_all(report, browser, given.mixed)
    return report.summarize()


def start(browsers, report, given, origin, profile, **options):
    browser = Browser(origin, Path(given.work) / profile, given.screenshots, **options)
    browsers.callback(browser.quit)
    browser.prefer("light")
    report.on_failure = lambda number: browser.picture(f"not-ok-{number}")
    return browser


def with_javascript(report, browser, registry, pool, look):
    host = registry.address
    builds.says_what_to_do_without_any(report, browser, host, look)
    front_page.composes(report, browser, host)
    front_page.keeps_tags(report, browser, host)
    front_page.makes(report, browser, host)
    builds.shows_what_was_pulled(report, browser, registry)
    browser.open("/")
    completion.completes(report, browser, host, look)
    clients.are_chosen(report, browser, registry, look)
    browser.open("/")
    front_page.shows_layers_of_the_composed(report, browser, look)
    front_page.from_elsewhere(report, browser, registry.port)
    builds.is_watched(report, browser, registry, look)
    line = builds.outlives_a_lost_connection(report, browser, registry)
    builds.fails(report, browser, registry)
    builds.has_many_watchers(report, browser, registry, pool)
    builds.is_made_before_it_is_pulled(report, registry)
    looks.at_all_pages(look)
    front_page.with_keys_alone(report, browser, host)
    # Where pages came from.
    return [f"http://{one}" for one in (host, f"{OTHER_HOST}:{registry.port}", f"localhost:{line}")]


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
