"""Chromium without a window, driven by Selenium."""

import base64
import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tap import wait_until

# A name of this machine that isn't localhost, which browsers trust more.
OTHER_HOST = "nixery.test"

ARGUMENTS = [
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--no-proxy-server",
    "--window-size=1000,800",
    f"--host-resolver-rules=MAP {OTHER_HOST} 127.0.0.1,MAP * ~NOTFOUND,EXCLUDE localhost",
]

# What can be reached with the Tab key, from top to bottom.
FOCUSABLE = "a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary, [tabindex='0']"

DESCRIBE = """
const describe = (element) => element.id ? `#${element.id}`
  : `${element.localName} ${(element.name || element.textContent).trim().slice(0, 40)}`;
"""


class Browser:
    """A browser with a profile of its own."""

    def __init__(self, origin, profile, screenshots, javascript=True):
        self.origin, self.screenshots = origin, Path(screenshots)
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.add_argument(f"--user-data-dir={profile}")
        if os.geteuid() == 0:
            # Its sandbox wants another user than root.
            options.add_argument("--no-sandbox")
        if not javascript:
            blocked = {"profile.managed_default_content_settings.javascript": 2}
            options.add_experimental_option("prefs", blocked)
        logs = {"performance": "ALL", "browser": "ALL"}
        options.set_capability("goog:loggingPrefs", logs)
        self.driver = webdriver.Chrome(
            service=Service("/usr/bin/chromedriver"), options=options
        )
        self.driver.set_page_load_timeout(30)
        self.driver.set_script_timeout(30)
        self._urls, self._console, self._challenges = [], [], []

    def quit(self):
        self.driver.quit()

    # --- Looking -------------------------------------------------------------------

    def open(self, path, origin=None):
        self.driver.get((origin or self.origin) + path)

    @property
    def path(self):
        return urlsplit(self.driver.current_url).path

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def button(self, text):
        return self.driver.find_element(By.XPATH, f"//button[contains(., '{text}')]")

    def text(self, selector="body"):
        """What is to be seen of an element; nothing where there is none."""
        try:
            found = self.all(selector)
            return found[0].text if found else ""
        except WebDriverException:
            # A page that was reloaded meanwhile, whatever the driver calls that.
            return ""

    def shows(self, text, selector="body", seconds=30):
        """Waits until the page says `text`."""
        try:
            wait_until(f"{selector} shows {text!r}", lambda: text in self.text(selector), seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows {self.text(selector)!r}") from None

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def picture(self, name):
        """Keeps the whole page as NAME.png."""
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        captured = self.command(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**size, "scale": 1}
        )
        (self.screenshots / f"{name}.png").write_bytes(base64.b64decode(captured["data"]))

    # --- Typing ---------------------------------------------------------------------

    def press(self, *keys):
        """Keys as they are pressed, for whatever has the focus."""
        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def select_all(self):
        """Of what has the focus."""
        keys = ActionChains(self.driver, duration=0).key_down(Keys.CONTROL)
        keys.send_keys("a").key_up(Keys.CONTROL).perform()

    def focused(self):
        """What has the focus, and how that is to be seen."""
        return self.run(
            DESCRIBE
            + """
            const element = document.activeElement, style = getComputedStyle(element);
            const box = element.getBoundingClientRect();
            return {
              what: describe(element),
              outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
              isInSight: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
            };
            """
        )

    def reach(self, count):
        """What has the focus after each press of the Tab key."""
        met = []
        for _ in range(count):
            self.press(Keys.TAB)
            met.append(self.focused())
        return met

    def tab_to(self, what):
        """Presses the Tab key until `what` has the focus."""
        met = []
        for _ in range(30):
            met.append(self.focused()["what"])
            if met[-1] == what:
                return
            self.press(Keys.TAB)
        raise AssertionError(f"{what} is not reached, but {met}")

    def focusable(self):
        """All that should be reached with the Tab key: of several choices, the one that is made."""
        return self.run(
            DESCRIBE
            + """
            return [...document.querySelectorAll(arguments[0])]
              .filter((element) => element.checkVisibility() && element.tabIndex >= 0)
              .filter((element) => element.type !== "radio" || element.checked).map(describe);
            """,
            FOCUSABLE,
        )

    # --- Pretending -------------------------------------------------------------------

    def command(self, name, **parameters):
        """A command of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, parameters)

    def prefer(self, scheme):
        """A user who prefers colours to be "light" or "dark"."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def be_phone(self, width, height):
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2,
            mobile=True,
        )

    def be_desktop(self):
        self.command("Emulation.clearDeviceMetricsOverride")

    def be_offline(self, is_so):
        self.command(
            "Network.emulateNetworkConditions",
            offline=is_so,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    # --- What happened ------------------------------------------------------------------

    def _read_logs(self):
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                # Not those of the page that Chromium itself begins with.
                if not event["params"]["documentURL"].startswith("chrome://"):
                    self._urls.append(event["params"]["request"]["url"])
            elif event["method"] == "Network.responseReceivedExtraInfo":
                headers = event["params"]["headers"].items()
                self._challenges += [
                    value for name, value in headers if name.lower() == "www-authenticate" and value.startswith("Basic")
                ]
            elif event["method"] == "Network.webSocketCreated":
                self._urls.append(event["params"]["url"])
        self._console += [entry["message"] for entry in self.driver.get_log("browser")]

    def urls(self):
        """Addresses of all that was asked for, with everything that pages loaded."""
        self._read_logs()
        return self._urls

    def challenges(self):
        """Each time that a user would have been asked for a password since the last call."""
        self._read_logs()
        challenges, self._challenges = self._challenges, []
        return challenges

    def console(self):
        """All errors and warnings: of scripts, of what is forbidden, of failed requests."""
        self._read_logs()
        return self._console
