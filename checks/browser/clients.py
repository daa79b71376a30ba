"""What the composer tells to be done with each client."""

import subprocess
import tempfile

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from chromium import OTHER_HOST
from front_page import commands, type_packages
from tap import equal


def choose(browser, name):
    """With the mouse."""
    labels = f"//*[@id='clients']//label[. = '{name}']"
    browser.driver.find_element(By.XPATH, labels).click()


def are_chosen(report, browser, registry, look):
    host = registry.address
    with report.test("there is a command for Podman, which wants to be told where TLS is not"):
        browser.open("/")
        type_packages(browser, "jq")
        choose(browser, "Podman")
        commands(browser, f"podman run --rm -ti --tls-verify=false {host}/shell/jq bash")
    with report.test("… for Skopeo"):
        choose(browser, "Skopeo")
        commands(browser, f"skopeo copy --src-tls-verify=false docker://{host}/shell/jq oci:image")
    with report.test("… a line for Kubernetes"):
        choose(browser, "Kubernetes")
        commands(browser, f"image: {host}/shell/jq")
    with report.test("… which is there again after a reload"):
        browser.driver.refresh()
        commands(browser, f"image: {host}/shell/jq")
    look("the composer for another client", "client")
    with report.test("… and lines for a Dockerfile, by keys"):
        browser.tab_to("input client")
        browser.press(Keys.ARROW_RIGHT)
        wanted = (
            f"COPY --from={host}/shell/jq /nix/store /nix/store\n"
            f"COPY --from={host}/shell/jq /bin /usr/local/bin"
        )
        commands(browser, wanted)
    with report.test("… with which docker makes an image that has the programs"):
        status, output = build(f"FROM {host}/shell\n{wanted}\nRUN /usr/local/bin/jq --version\n")
        assert status == 0 and "jq-1." in output, output
    with report.test("… but nothing that nobody knows"):
        browser.open("/#packages=jq&client=toString", f"http://{OTHER_HOST}:{registry.port}")
        commands(browser, f"docker run --rm -ti {OTHER_HOST}:{registry.port}/shell/jq bash")
        equal(browser.run("return document.querySelectorAll('#clients :checked').length"), 1)


def build(dockerfile):
    """What docker says of it."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["docker", "build", "--no-cache", "-f", "-", directory]
        done = subprocess.run(
            command,
            input=dockerfile,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout
