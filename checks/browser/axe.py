"""Whether a page is accessible, as axe-core sees it."""

from tap import say

RUN = """
const [options, done] = arguments;
axe.run(document, options).then(done, (error) => done({ error: String(error) }));
"""

# Whoever depends on it can't use the page, or hardly.
BAD = ("serious", "critical")


class Axe:
    """Looks for violations with the script that is at `path`."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.script = file.read()

    def look(self, browser, name, rules=None):
        """Fails if anything is bad; says what else there is."""
        options = {"resultTypes": ["violations", "incomplete", "passes"]}
        if rules:
            options["runOnly"] = {"type": "rule", "values": rules}
        browser.run(self.script)
        result = browser.driver.execute_async_script(RUN, options)
        assert "error" not in result, result
        # It has looked at something.
        assert result["passes"], result
        bad = [one for one in result["violations"] if one["impact"] in BAD]
        for one in result["violations"]:
            if one not in bad:
                say(f"axe: {name}: {describe(one)}")
        for one in result["incomplete"]:
            say(f"axe: {name}: can't tell: {describe(one)}")
        assert not bad, "\n".join(f"{describe(one)}\n{one['nodes'][0]['failureSummary']}" for one in bad)


def describe(violation):
    where = "; ".join(" ".join(map(str, node["target"])) for node in violation["nodes"][:5])
    return f"{violation['impact']}: {violation['id']}: {violation['help']} ({where})"
