#!/usr/bin/env python3
"""Judges what a view writes when its window changes its size, with kitty's own screen: scrollback and screen as one must hold each
line once.

    LC_ALL=C.UTF-8 /usr/bin/python3 kitty_sizes.py < sizes.json

Exits 1 if a case differs, and 77 if there is no kitty."""
import json, os, sys

from kitty_screen import parse_bytes, said, screen

# Narrower, the first row on the screen goes on from the last that scrolled off, which no sequence says: kitty has two lines then,
# and wraps each by itself later.
ALLOWED = ["narrower", "narrower-and-back"]


def text(s):
    """Scrollback and screen, lines that were wrapped made whole."""
    history = s.historybuf
    lines = []

    def take(row):
        if row.is_continued() and lines:
            lines[-1] += str(row)
        else:
            lines.append(str(row))

    # One at a time: the history gives the same object each time.
    for n in reversed(range(history.count)):
        take(history.line(n))
    for y in range(s.lines):
        take(s.line(y))
    lines = [line.rstrip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


cases = json.load(sys.stdin)
bad = 0
for case in cases:
    s, _ = screen(20, 8)
    for kind, *what in case["steps"]:
        if kind == "size":
            s.resize(what[1], what[0])
        else:
            parse_bytes(s, bytes.fromhex(what[0]))
    found = text(s)
    if found != case["text"] and case["name"] not in ALLOWED:
        bad += 1
        print(f"{case['name']}: {found} != {case['text']}", file=said)
print(f"{len(cases)} changes of size, {bad} wrong", file=said)
os._exit(bad != 0)
