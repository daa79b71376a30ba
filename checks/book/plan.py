"""How the commands of the book are run: plan.toml, checked against the pages.

What is not in the plan is run, and has to succeed and to print what the page shows.
"""

import fnmatch
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from pages import Command


@dataclass
class Plan:
    """What the plan says of one page; keys are commands, or patterns of commands."""

    # Programs without which the page's commands are skipped.
    needs: list[str] = field(default_factory=list)
    # The same, for some of its commands.
    needs_for: dict[str, str] = field(default_factory=dict)
    # Whether the server has to serve the offline package set.
    server: bool = False
    # Shell code that is run before all of them, for what the page takes for granted.
    given: str = ""
    # Shell code that is run before a command.
    before: dict[str, str] = field(default_factory=dict)
    # Why commands are not run.
    skip: dict[str, str] = field(default_factory=dict)
    # Commands that serve until they are ended.
    serves: list[str] = field(default_factory=list)
    # Commands that have to fail.
    fails: list[str] = field(default_factory=list)
    # Why commands print something else here than the page shows.
    prints: dict[str, str] = field(default_factory=dict)

    def keys(self):
        """Every command that is named, and where."""
        for name in ("needs_for", "before", "skip", "serves", "fails", "prints"):
            for key in getattr(self, name):
                yield name, key


def said_of(said, command: Command):
    """What a part of the plan says of the command; None if nothing."""
    for key in said:
        if command.text == key or fnmatch.fnmatchcase(command.text, key):
            return said[key] if isinstance(said, dict) else key
    return None


def read(path: Path) -> dict[str, Plan]:
    with path.open("rb") as file:
        return {page: Plan(**plan) for page, plan in tomllib.load(file).items()}


def problems(plans: dict[str, Plan], pages: dict[str, list[Command]]) -> list[str]:
    """What is wrong with the plan: what it says of commands that there are not, and
    commands that nobody could run although it doesn't say so."""
    wrong = []
    for page, plan in plans.items():
        commands = pages.get(page, [])
        if not commands:
            wrong.append(f"{page}: there is no such page, or it has no commands")
        for part, key in plan.keys():
            if not any(said_of([key], command) for command in commands):
                wrong.append(f"{page}: {part}: it has no such command: {key}")
        for said in (plan.skip, plan.prints):
            wrong += [f"{page}: a reason is missing: {key}" for key in said if len(said[key]) < 10]
    for page, commands in pages.items():
        for command in commands:
            skipped = said_of(plans.get(page, Plan()).skip, command)
            if "…" in command.text and not skipped:
                wrong.append(f"{page}:{command.line}: can't be run as it is: {command.text}")
    return wrong
