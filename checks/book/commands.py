#!/usr/bin/env python3
"""Runs the commands that the book shows, or checks that it is known how.

Usage: commands.py --check           that plan.toml and the pages agree
       commands.py --list            which are run, and why others are not
       commands.py --run DIR [PAGE…] runs them, in DIR; checks/tutorial.sh does that

Each page has a shell of its own, in a directory that looks like a checkout.
"""

import shutil
import sys
import time
import urllib.request
from pathlib import Path

import plan as plans_of
from pages import Command, is_as_shown, pages
from plan import Plan, said_of
from terminal import Failed, Hung, Terminal

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PORT = 8080

passed = failed = skipped = 0


def result(good: bool, name: str, why: str = ""):
    global passed, failed
    passed, failed = passed + good, failed + (not good)
    print(("ok - " if good else "not ok - ") + name)
    if not good:
        print("\n".join(f"#   {line}" for line in why.splitlines()[-40:]))
    sys.stdout.flush()


def skip(name: str, why: str):
    global skipped
    skipped += 1
    print(f"# skipped: {name}: {why}", flush=True)


def name_of(command: Command) -> str:
    first, *more = command.text.splitlines()
    return f"{command.page}:{command.line}: {first}" + (" …" if more else "")


def is_ready() -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open(f"http://localhost:{PORT}/readyz", timeout=5).status == 200
    except OSError:
        return False


def compare(shown: list[str], printed: str):
    if shown and not is_as_shown(shown, printed):
        wanted = "\n".join(shown)
        raise Failed(f"the page shows:\n{wanted}\nprinted was:\n{printed}")


def run_command(terminal: Terminal, command: Command, plan: Plan):
    before = said_of(plan.before, command)
    if before is not None:
        status, printed, _ = terminal.run(before)
        if status:
            raise Failed(f"what the plan has run before it failed:\n{printed}")
    if said_of(plan.serves, command):
        if command.printed:
            raise Failed("what a server prints can't be compared")
        terminal.serve(command.text, is_ready)
        return
    status, printed, answers = terminal.run(command.text, command.typed)
    if (status != 0) != (said_of(plan.fails, command) is not None):
        raise Failed(f"it ended with {status}, and printed:\n{printed}")
    if said_of(plan.prints, command) is None:
        compare(command.printed, printed)
        for typed, answer in zip(command.typed, answers):
            compare(typed.printed, answer)


def run_page(page: str, commands: list[Command], plan: Plan, work: Path):
    missing = [program for program in plan.needs if not shutil.which(program)]
    directory = work / "pages" / page.replace("/", "-").removesuffix(".md")
    directory.mkdir(parents=True)
    for name in ("Cargo.toml", "checks", "nix", "book", "rust"):
        (directory / name).symlink_to(REPOSITORY / name)
    (directory / "target").symlink_to(work / "target")
    terminal = Terminal(directory, work)
    try:
        if plan.server and not missing:
            terminal.serve('NIXERY_PKGS_PATH="$pinned" nixery', is_ready)
        if plan.given and not missing:
            status, printed, _ = terminal.run(plan.given)
            if status:
                result(False, f"{page}: what it takes for granted", printed)
                return
        for command in commands:
            reason = said_of(plan.skip, command)
            for program in missing or [said_of(plan.needs_for, command)]:
                if program and not shutil.which(program):
                    reason = f"{program} is not on PATH"
            if reason is not None:
                skip(name_of(command), reason)
                continue
            began = time.monotonic()
            try:
                run_command(terminal, command, plan)
            except Failed as failure:
                result(False, name_of(command), str(failure))
                if isinstance(failure, Hung):
                    return
            else:
                result(True, f"{name_of(command)} # {time.monotonic() - began:.1f} s")
    finally:
        terminal.end()


def main(arguments: list[str]) -> int:
    found, plans = pages(REPOSITORY), plans_of.read(HERE / "plan.toml")
    wrong = plans_of.problems(plans, found)
    if arguments == ["--check"]:
        result(not wrong, "for each command of the book it is known how to run it, or why not", "\n".join(wrong))
    elif arguments == ["--list"]:
        for page, commands in found.items():
            for command in commands:
                reason = said_of(plans.get(page, Plan()).skip, command)
                print(f"{name_of(command)}: {reason or 'run'}")
        return 0
    elif arguments[:1] == ["--run"] and len(arguments) > 1:
        result(not wrong, "the plan is about the commands that there are", "\n".join(wrong))
        for page, commands in found.items():
            if not arguments[2:] or page in arguments[2:]:
                began = time.monotonic()
                run_page(page, commands, plans.get(page, Plan()), Path(arguments[1]))
                print(f"# {page}: {time.monotonic() - began:.1f} s", flush=True)
    else:
        print(__doc__, file=sys.stderr)
        return 64
    if skipped:
        print(f"# {skipped} commands were not run")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
