"""The commands that pages show: what is typed in their blocks ```console, and what
they say is printed; and scripts, in blocks ```bash."""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

PROMPT = re.compile(r"bash-[0-9.]+[#$] ")


# Blocks that are one command as a whole.
SCRIPTS = ("bash", "sh", "shell")


@dataclass
class Typed:
    """A line that is typed into a program which a command has started."""

    text: str
    printed: list[str] = field(default_factory=list)


@dataclass
class Command:
    """A command, and what the page says is printed: nothing if it doesn't say."""

    page: str
    line: int
    text: str
    printed: list[str] = field(default_factory=list)
    typed: list[Typed] = field(default_factory=list)


def is_whole(text: str) -> bool:
    """Whether bash would run this, rather than wait for another line."""
    if text.endswith("\\"):
        return False
    parsed = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    unfinished = ("unexpected EOF", "unexpected end of file", "delimited by end-of-file")
    return not any(words in parsed.stderr for words in unfinished)


def commands_of(name: str, text: str) -> list[Command]:
    """The commands of a page, in their order."""
    commands: list[Command] = []
    indentation, language, typing = None, "", False
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"( *)```(\w*)", line)
        if fence and indentation is not None:
            if typing:
                raise ValueError(f"{name}:{number}: a command is not complete: {commands[-1].text}")
            indentation = None
        elif fence:
            indentation, language = len(fence[1]), fence[2]
            if language in SCRIPTS:
                commands.append(Command(name, number, ""))
        elif indentation is None:
            continue
        elif language in SCRIPTS:
            commands[-1].text = (commands[-1].text + "\n" + line[indentation:]).lstrip("\n")
        elif language != "console":
            if line[indentation:].startswith("$ "):
                raise ValueError(f"{name}:{number}: commands are in blocks ```console")
        elif typing:
            commands[-1].text += "\n" + line[indentation:]
            typing = not is_whole(commands[-1].text)
        elif (shown := line[indentation:]).startswith("$ "):
            commands.append(Command(name, number, shown[2:]))
            typing = not is_whole(commands[-1].text)
        elif not commands:
            raise ValueError(f"{name}:{number}: nothing was typed that could print this")
        elif prompt := PROMPT.match(shown):
            commands[-1].typed.append(Typed(shown[prompt.end() :]))
        elif commands[-1].typed:
            commands[-1].typed[-1].printed.append(shown)
        else:
            commands[-1].printed.append(shown)
    return commands


def pages(repository: Path) -> dict[str, list[Command]]:
    """All pages that show commands: the tutorial, the others in their order, and the README."""
    source = repository / "book/src"
    names = re.findall(r"\(([^)]+\.md)\)", (source / "SUMMARY.md").read_text())
    # A newcomer begins with the tutorial, where nobody has made an image before.
    names.sort(key=lambda name: not name.startswith("tutorial/"))
    found = {name: commands_of(name, (source / name).read_text()) for name in names}
    found["README.md"] = commands_of("README.md", (repository / "README.md").read_text())
    return {name: commands for name, commands in found.items() if commands}


def pattern_of(line: str) -> str:
    """What may stand for a line of a page: numbers and hashes are others on each
    machine, and … is what the page leaves out."""
    pieces = re.split(r"(…|[0-9a-f]{40,64}|[0-9a-df-np-sv-z]{32}|[0-9]+(?:\.[0-9]+)*|\s+)", line)
    varying = {
        "…": ".*",
        "hash": "[0-9a-z]{32,64}",
        "number": r"[0-9]+(?:\.[0-9]+)*",
        "blank": r"\s+",
    }

    def kind(piece: str) -> str:
        if piece == "…":
            return piece
        if piece.isspace():
            return "blank"
        return "number" if len(piece) < 32 else "hash"

    return "".join(
        varying[kind(piece)] if index % 2 else re.escape(piece)
        for index, piece in enumerate(pieces)
    )


def is_as_shown(shown: list[str], printed: str) -> bool:
    """Whether what was printed is what the page shows: all of it, but for lines that
    are only … in the page, which stand for any number."""
    pattern = "".join(
        r"(?:[^\n]*\n)*?" if line.strip() == "…" else pattern_of(line.rstrip()) + r"[ \t]*\n"
        for line in shown
    )
    lines = "".join(line.rstrip() + "\n" for line in printed.splitlines())
    return re.fullmatch(pattern, lines) is not None
