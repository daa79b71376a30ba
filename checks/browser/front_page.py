"""The front page: what it says, and the composer."""


from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from chromium import OTHER_HOST
from looks import LAYERS, bars
from tap import equal, wait_until


def type_packages(browser, text):
    """Types them and leaves the field, so that nothing is suggested any more."""
    browser.one("#packages").send_keys(Keys.CONTROL, "a")
    browser.one("#packages").send_keys(text, Keys.TAB)


def paste(browser, text):
    """Instead of what is there, as from another window."""
    write = "const [text, done] = arguments; navigator.clipboard.writeText(text).then(done, done)"
    assert browser.driver.execute_async_script(write, text) is None
    browser.one("#packages").send_keys(Keys.CONTROL, "a")
    browser.one("#packages").send_keys(Keys.CONTROL, "v")


def choose(browser, platform):
    """With the keys that real users have: the list itself is not of the page."""
    field = browser.one("#platform")
    wanted = [one.get_attribute("value") for one in Select(field).options].index(platform)
    field.send_keys(Keys.HOME, *[Keys.ARROW_DOWN] * wanted)


def command(browser):
    return browser.text("#command")


def commands(browser, wanted):
    """The composer shows that command, and within a moment."""
    try:
        wait_until("the command", lambda: command(browser) == wanted, 2)
    except AssertionError:
        equal(command(browser), wanted)


def has_problem(browser, text):
    """The composer says that, and has no command."""
    browser.shows(text, "#problem")
    commands(browser, "")


def composes(report, browser, host):
    """The composer, with a mouse."""
    with report.test("the front page has this instance's address in its command"):
        browser.open("/")
        assert browser.one("#composer").is_displayed()
        commands(browser, f"docker run --rm -ti {host}/shell/git/jq bash")
    with report.test("… once, as the composer stands for the one without JavaScript"):
        assert not browser.one("#usage").is_displayed()
    with report.test("… and all that one needs in one screen"):
        browser.shows("Packages come from:")
        bottom = browser.one("#composer").rect
        height = browser.run("return innerHeight")
        assert bottom["y"] + bottom["height"] <= height, (bottom, height)

    with report.test("the composer's command has the packages that are typed"):
        type_packages(browser, "jq, htop")
        commands(browser, f"docker run --rm -ti {host}/shell/jq/htop bash")
    with report.test("… in lower case, as names of images are"):
        type_packages(browser, "GeoIP")
        commands(browser, f"docker run --rm -ti {host}/shell/geoip bash")
    with report.test("… the platform that is chosen"):
        type_packages(browser, "jq")
        choose(browser, "arm64")
        commands(browser, f"docker run --rm -ti {host}/arm64/shell/jq bash")
    with report.test("… and no shell without one"):
        browser.one("#shell").click()
        # An image without one runs nothing of its own accord.
        commands(browser, f"docker pull {host}/arm64/jq")
    with report.test("what was chosen is there again after a reload"):
        browser.driver.refresh()
        commands(browser, f"docker pull {host}/arm64/jq")
        choose(browser, "")
        commands(browser, f"docker pull {host}/jq")

    with report.test("… but for one that is a package"):
        type_packages(browser, "jq bash")
        commands(browser, f"docker run --rm -ti {host}/jq/bash bash")

    with report.test("what can't be a name is said, and there is no command for it"):
        type_packages(browser, "jq c++")
        has_problem(browser, "c++")
        equal(browser.one("#packages").get_attribute("aria-invalid"), "true")
        assert not browser.button("Make it now").is_enabled()
        assert not browser.button("Copy").is_enabled()
        browser.picture("composer-problem")
    with report.test("… and it is gone with the next good one"):
        type_packages(browser, "jq")
        equal(browser.text("#problem"), "")
        equal(browser.one("#packages").get_attribute("aria-invalid"), "false")
        assert browser.button("Make it now").is_enabled()

    with report.test("a name with host and tag can be pasted"):
        type_packages(browser, f"{host}/arm64/shell/git:latest")
        commands(browser, f"docker run --rm -ti {host}/arm64/shell/git bash")
        equal(browser.one("#packages").get_attribute("value"), "git")
        assert browser.one("#shell").is_selected()
        equal(browser.one("#platform").get_attribute("value"), "arm64")
    browser.command(
        "Browser.grantPermissions",
        origin=browser.origin,
        permissions=["clipboardReadWrite", "clipboardSanitizedWrite"],
    )
    with report.test("… and all that the pages show"):
        choose(browser, "")
        for pasted in (
            f"docker run --rm -ti {host}/shell/git/jq bash",
            f"http://{host}/builds/shell/git/jq/latest",
        ):
            paste(browser, pasted)
            commands(browser, f"docker run --rm -ti {host}/shell/git/jq bash")
            equal(browser.one("#packages").get_attribute("value"), "git jq")
        for pasted in (f"docker pull {host}/git/jq:latest", f"http://{host}/git/jq", "nixery.dev/git/jq"):
            paste(browser, pasted)
            commands(browser, f"docker pull {host}/git/jq")
            equal(browser.text("#problem"), "")
        paste(browser, f"docker run --rm -ti {host}/arm64/shell/git bash")
        commands(browser, f"docker run --rm -ti {host}/arm64/shell/git bash")
    with report.test("… and what is left out of it is said"):
        for ending, said in ((":26.05", "the tag 26.05"), ("@sha256:0123456789abcdef", "the digest sha256:0123456789ab")):
            type_packages(browser, f"git{ending}")
            commands(browser, f"docker run --rm -ti {host}/arm64/shell/git bash")
            browser.shows(f"left out: {said}", "#problem", 5)
    with report.test("what is pasted is taken apart"):
        takes_apart(browser, host)
    with report.test("… and what registries know only at the front may stand anywhere"):
        type_packages(browser, "git, shell arm64 git")
        commands(browser, f"docker run --rm -ti {host}/arm64/shell/git bash")
    with report.test("… but not two platforms"):
        type_packages(browser, "git amd64 arm64")
        has_problem(browser, "one platform")
    with report.test("… nor more than names can have"):
        # At once, as from a clipboard.
        browser.run("packages.value = 'git-'.repeat(70) + 'git'")
        browser.run("packages.dispatchEvent(new Event('input', { bubbles: true }))")
        has_problem(browser, "255")
    with report.test("a name that is still being typed is no error"):
        browser.one("#packages").send_keys(Keys.CONTROL, "a")
        browser.one("#packages").send_keys("python3packages.")
        equal(browser.text("#problem"), "")
        commands(browser, "")
        browser.press(Keys.TAB)
        browser.shows("python3packages.", "#problem")
    with report.test("there is no command for a package that there isn't"):
        type_packages(browser, "git zzz")
        browser.shows("there is no package zzz", "#problem", 20)
        commands(browser, "")
        assert not browser.button("Make it now").is_enabled()
        browser.picture("composer-unknown")
    with report.test("… nor for a set of them, or what is no package"):
        type_packages(browser, "python3packages")
        browser.shows("python3packages is a set of packages", "#problem", 20)
        type_packages(browser, "some-string")
        browser.shows("there is no package some-string", "#problem", 20)
        commands(browser, "")
    with report.test("… but for one that Nix has something against"):
        type_packages(browser, "unfree-thing zzzz")
        # It is asked about after the other.
        browser.shows("there is no package zzzz", "#problem", 20)
        type_packages(browser, "unfree-thing")
        browser.shows("/unfree-thing", "#command", 20)
        equal(browser.text("#problem"), "")
    type_packages(browser, "jq")
    choose(browser, "")
    browser.one("#shell").click()

    with report.test("the command is copied by its button"):
        browser.button("Copy").click()
        wait_until(
            "the clipboard",
            lambda: clipboard(browser) == f"docker pull {host}/jq",
            5,
        )
    with report.test("… and that is said"):
        browser.shows("opied", "#composer", 5)

    with report.test("a package that doesn't exist is named when it is to be made"):
        for _ in range(5):
            # Before it is known that there isn't one.
            browser.run("packages.value = 'gti'")
            browser.run("packages.dispatchEvent(new Event('input', { bubbles: true }))")
            browser.run("document.querySelector('[name=make]').click()")
            browser.shows("Could not find Nix packages: gti (did you mean git?)")
            if browser.path == "/":
                break
            # Nix took longer than the server waits with its answer: the build's page says it.
            browser.open("/")
        else:
            raise AssertionError("Nix took longer five times than the server waits")
        equal(browser.path, "/")
        browser.picture("composer-missing")
    with report.test("… and it is said when the server can't be asked"):
        type_packages(browser, "jq")
        browser.be_offline(True)
        try:
            browser.button("Make it now").click()
            browser.shows("can't be reached", "#said", 5)
        finally:
            browser.be_offline(False)


def takes_apart(browser, host):
    """Of addresses, commands and names: packages, tags, and whether they are an image's whole name."""
    parse = """
    const [texts, host, done] = arguments;
    import("/assets/pasted.js").then(({ parse }) => done(texts.map((text) => {
      const { words, tags, isReference } = parse(text, host);
      return [text, [...words, ...[...tags].map((tag) => `:${tag}`)].join(" "), isReference];
    })));
    """
    expected = [
        ["git, jq htop", "git jq htop", False],
        ["GeoIP", "geoip", False],
        ["git jq:26.05", "git jq :26.05", False],
        ["git:Release-1.0", "git :Release-1.0", False],
        ["docker git jq", "docker git jq", False],
        ["python3packages.requests/git", "python3packages.requests git", False],
        [f"{host}/git", "git", True],
        ["localhost/git", "git", True],
        ["nixery.dev/git/jq", "git jq", True],
        ["python.example/git", "git", True],
        ["[::1]:80/git", "git", True],
        [f"docker://{host}/git", "git", True],
        [f"https://{host}/builds/arm64/git/26.05", "arm64 git :26.05", True],
        [f"$ sudo docker run -p 80:80 -v /a:/b {host}/git:26.05 git log", "git :26.05", True],
        [f"kubectl run one --image={host}/shell/git", "shell git", True],
        ["FROM nixery.dev/shell/git AS tools", "shell git", True],
        ["--rm", "--rm", False],
        ["c++", "c++", False],
    ]
    equal(browser.driver.execute_async_script(parse, [text for text, *_ in expected], host), expected)


def keeps_tags(report, browser, host):
    """As where packages come from nixpkgs or a repository; the server here has no answers."""
    script = browser.command(
        "Page.addScriptToEvaluateOnNewDocument",
        source="""
        window.fetch = () => new Promise(() => {});
        document.addEventListener("readystatechange", () => {
          if (document.readyState === "interactive") document.getElementById("composer")?.setAttribute("data-tags", "yes");
        });
        """,
    )
    with report.test("a tag is kept where the package source has some"):
        # From elsewhere, as what is behind the `#` alone loads nothing.
        browser.open("/builds")
        browser.open("/#packages=git+jq:26.05")
        commands(browser, f"docker run --rm -ti {host}/shell/git/jq:26.05 bash")
        equal(browser.text("#problem"), "")
        type_packages(browser, f"docker pull {host}/git:Main")
        commands(browser, f"docker pull {host}/git:Main")
        equal(browser.one("#packages").get_attribute("value"), "git:Main")
    with report.test("… but not two"):
        type_packages(browser, "git:26.05 jq:unstable")
        browser.shows("one tag: 26.05 or unstable", "#problem", 5)
        commands(browser, "")
    browser.command("Page.removeScriptToEvaluateOnNewDocument", **script)


def clipboard(browser):
    read = "const done = arguments[0]; navigator.clipboard.readText().then(done, () => done(''))"
    return browser.driver.execute_async_script(read)


def makes(report, browser, host):
    """From the composer to the image's page."""
    with report.test("“Make it now” leads to the image's build"):
        browser.open("/")
        type_packages(browser, "jq")
        browser.one("#shell").click()
        browser.button("Make it now").click()
        wait_until("the page", lambda: browser.path == "/builds/jq/latest", 10)
        browser.shows("jq:latest", "h1")
    with report.test("… which shows the image as soon as it is made"):
        browser.shows("made", "#state", 60)
        browser.shows(f"docker pull {host}/jq:latest", "#pull")


def shows_layers_of_the_composed(report, browser, look):
    """The picture of the layers of what the composer has, where that was made."""
    with report.test("the composer shows the layers of an image that was made"):
        browser.open("/")
        type_packages(browser, "jq")
        browser.one("#shell").click()
        wait_until("layers", lambda: browser.all(f"#layers {LAYERS}"), 10)
        parts = bars(browser, "#layers .layers")
        strip = [one.rect["width"] for one in browser.all("#layers .strip a rect")]
        equal(len(strip), len(parts))
        # The smallest, too, can be pointed at.
        assert min(strip) >= 5, strip
    look("the composer with layers", "composed")
    with report.test("… and its picture leads to them, whatever else is chosen"):
        before = browser.run("return location.hash")
        browser.all("#layers .strip a")[-1].click()
        browser.shows("links to the packages", ".layers .target", 5)
        equal(browser.run("return location.hash"), before)
        equal(browser.one("#packages").get_attribute("value"), "jq")
    with report.test("… of one that is made meanwhile, too"):
        type_packages(browser, "nano")
        wait_until("no layers", lambda: not browser.all(f"#layers {LAYERS}"), 10)
        browser.run("fetch('/api/v1/builds/nano/latest', { method: 'POST' })")
        wait_until("layers", lambda: browser.all(f"#layers {LAYERS}"), 30)
    with report.test("… and none of one that wasn't"):
        type_packages(browser, "jq htop")
        wait_until("no layers", lambda: not browser.all(f"#layers {LAYERS}"), 10)


def from_elsewhere(report, browser, port):
    """By a name that isn't localhost, without TLS: browsers then have no clipboard."""
    origin = f"http://{OTHER_HOST}:{port}"
    with report.test("under another name of the server, commands have that"):
        browser.open("/", origin)
        commands(browser, f"docker run --rm -ti {OTHER_HOST}:{port}/shell/git/jq bash")
    with report.test("… and are copied there, too"):
        assert not browser.run("return isSecureContext")
        browser.button("Copy").click()
        browser.shows("opied", "#composer", 5)
        copied = command(browser)
        browser.open("/")
        equal(clipboard(browser), copied)


def with_keys_alone(report, browser, host):
    """From the packages to the image, without a mouse."""
    with report.test("the composer is used with keys alone"):
        browser.open("/")
        browser.tab_to("#packages")
        browser.select_all()
        browser.press("htop jq")
        browser.tab_to("#shell")
        browser.press(Keys.SPACE)
        browser.tab_to("#platform")
        browser.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
        commands(browser, f"docker pull {host}/arm64/htop/jq")
        browser.picture("with-keys")
        browser.press(Keys.ARROW_UP, Keys.ARROW_UP)
        commands(browser, f"docker pull {host}/htop/jq")
        browser.tab_to("button make")
        browser.press(Keys.ENTER)
        wait_until("the page", lambda: browser.path == "/builds/htop/jq/latest", 10)
        browser.shows("made", "#state", 60)


def without_javascript(report, browser, host):
    with report.test("without JavaScript, the front page says what to do"):
        browser.open("/")
        browser.shows(f"docker run --rm -ti {host}/shell/git/jq bash", "#usage")
        browser.shows("Packages come from:")
        browser.picture("front-without-javascript")
    with report.test("… without a composer, which would do nothing"):
        assert not browser.one("#composer").is_displayed()
    with report.test("… links lead to the builds"):
        browser.driver.find_element(By.LINK_TEXT, "Builds").click()
        equal(browser.path, "/builds")
        browser.shows("jq:latest", "table")
        browser.shows(" UTC", "table time")
        browser.picture("builds-without-javascript")
    with report.test("… and from there to an image and its layers"):
        browser.driver.find_element(By.LINK_TEXT, "shell/jq:latest").click()
        equal(browser.path, "/builds/shell/jq/latest")
        browser.shows(f"docker pull {host}/shell/jq:latest", "#pull")
        assert len(browser.all(LAYERS)) > 1
        browser.picture("image-without-javascript")
