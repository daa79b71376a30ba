#!/usr/bin/env python3
"""Tests of what finds the book's commands and compares what they print."""

import tempfile
import unittest
from pathlib import Path

from links import Page, problem
from pages import commands_of, is_as_shown
from plan import Plan, problems, said_of
from terminal import Failed, Terminal, plain

PAGE = """
# A page

```text
not a command
```

```console
$ cat >file <<'END'
$ not a command either
END
$ wc \\
    -l file
1 file
```

- In a list:

  ```console
  $ bash
  bash-5.2# echo one
  one
  bash-5.2# exit
  ```

```bash
for one in 1 2; do
  echo "$one"
done
```
"""


class Commands(unittest.TestCase):
    def test_they_are_found_with_all_their_lines(self):
        here, count, shell, script = commands_of("page.md", PAGE)
        self.assertEqual(here.text, "cat >file <<'END'\n$ not a command either\nEND")
        self.assertEqual((count.text, count.printed), ("wc \\\n    -l file", ["1 file"]))
        self.assertEqual([typed.text for typed in shell.typed], ["echo one", "exit"])
        self.assertEqual(shell.typed[0].printed, ["one"])
        self.assertEqual(script.text, 'for one in 1 2; do\n  echo "$one"\ndone')

    def test_one_that_does_not_end_is_an_error(self):
        with self.assertRaises(ValueError):
            commands_of("page.md", "```console\n$ echo 'one\n```\n")
        with self.assertRaises(ValueError):
            commands_of("page.md", "```console\nprinted by nobody\n```\n")
        with self.assertRaises(ValueError):
            commands_of("page.md", "```text\n$ hidden\n```\n")

    def test_the_plan_must_be_about_them(self):
        pages = {"page.md": commands_of("page.md", "```console\n$ run … it\n$ echo\n```\n")}
        self.assertEqual(len(problems({}, pages)), 1)
        self.assertEqual(problems({"page.md": Plan(skip={"run *": "a good reason"})}, pages), [])
        for plan in (
            {"page.md": Plan(skip={"run *": "a good reason", "gone": "another reason"})},
            {"page.md": Plan(skip={"run *": "why not"})},
            {"page.md": Plan(skip={"run *": "a good reason"}), "gone.md": Plan()},
        ):
            self.assertEqual(len(problems(plan, pages)), 1, plan)
        self.assertEqual(said_of({"echo": "this"}, pages["page.md"][1]), "this")
        self.assertIsNone(said_of(["echo *"], pages["page.md"][1]))


class Printed(unittest.TestCase):
    def test_numbers_and_hashes_may_differ(self):
        for shown, printed in (
            (["git version 2.39.5"], "git version 2.51\n"),
            (["  1   14.2  a"], " 10 1.25  a\n"),
            (["/nix/store/1hjgjbpil1hk4gzv3ipdlpb6cn2fjs52-a"], "/nix/store/zzh4gzv3ip1hjgjbpil1k6cn2fjs52ab-a\n"),
            (["…", "last"], "one\ntwo\nlast\n"),
            (["first …", "…"], "first of all\n"),
        ):
            self.assertTrue(is_as_shown(shown, printed), shown)

    def test_nothing_else_may(self):
        for shown, printed in (
            (["one"], "two\n"),
            (["one"], "one\ntwo\n"),
            (["one", "two"], "one\n"),
            (["one"], ""),
            (["…", "last"], "last\nafter\n"),
            (["version 2"], "version two\n"),
        ):
            self.assertFalse(is_as_shown(shown, printed), shown)

    def test_what_a_terminal_shows_is_plain(self):
        self.assertEqual(plain(b"\x1b[31mred\x1b[0m\r\n1 %\r2 %\r\n"), "red\n2 %\n")


class InATerminal(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.terminal = Terminal(Path(folder.name), Path(folder.name))
        self.addCleanup(self.terminal.end)

    def test_what_was_exported_stays(self):
        self.terminal.run("export WORD=stays; mkdir below; cd below")
        self.assertEqual(self.terminal.run('echo "$WORD in ${PWD##*/}"')[:2], (0, "stays in below\n"))
        self.assertEqual(self.terminal.run("tty >/dev/null && false")[0], 1)

    def test_lines_are_typed_at_the_prompt(self):
        typed = commands_of("page.md", PAGE)[2].typed
        status, _, printed = self.terminal.run("PS1='\\s-\\v\\$ ' bash --norc -i 2>&1", typed)
        self.assertEqual((status, printed), (0, ["one", "exit"]))

    def test_one_that_hangs_is_not_waited_for(self):
        with self.assertRaises(Failed):
            self.terminal.run("sleep 60", seconds=0.2)

    def test_a_server_that_ends_is_an_error(self):
        with self.assertRaises(Failed):
            self.terminal.serve("echo it ends", lambda: False)


class Links(unittest.TestCase):
    def test_they_have_to_lead_somewhere(self):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder).resolve()
            (root / "a.html").write_text('<a href="b.html#there">b</a><img src="a.svg">')
            (root / "b.html").write_text('<h2 id="there">B</h2>')
            pages = {path: Page(path) for path in root.glob("*.html")}
            page = pages[root / "a.html"]
            self.assertEqual(page.references, ["b.html#there", "a.svg"])
            for reference, good in (
                ("b.html#there", True),
                ("b.html", True),
                ("https://example.org/", True),
                ("/builds", True),
                ("/gone", False),
                ("b.html#gone", False),
                ("a.svg", False),
                ("#gone", False),
                ("../elsewhere.html", False),
            ):
                why = problem(root, root / "a.html", page, reference, pages)
                self.assertEqual(why is None, good, reference)


if __name__ == "__main__":
    unittest.main()
