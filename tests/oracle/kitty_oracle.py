#!/usr/bin/env python3
"""Judges snapshots with kitty's own screen: one is fed with what the program wrote, another, which was used before, with the
snapshot; they must be the same, and stay so when both are fed with the continuation.

    LC_ALL=C.UTF-8 /usr/bin/python3 kitty_oracle.py kitty_allowed.txt < cases.json

Needs the Python that kitty was built for. Exits 1 if a case differs that is not allowed to, or the other way round, and 77 if
there is no kitty. The list has lines `name: reason`; `name-*` allows all that begin so and may be exact."""
import base64, json, os, re, sys

from kitty_screen import parse_bytes, said, screen

USED = b"\x1b[31mold\x1b[?1049h\x1b[2;4r\x1b[?6h\x1b[4h\x1b(0\x1b[?25l\x1b[?2004h\x1b[?1003h\x1b[?1006h\x1b[5 qrubbish\x1b]8;;http://old/\x1b\\"


KINDS = {str(n): "fg" for n in (38, *range(30, 38), *range(90, 98))}
KINDS |= {str(n): "bg" for n in (48, *range(40, 48), *range(100, 108))} | {"58": "line", "4": "under"}
OFF = {"22": "12", "23": "3", "24": ("under",), "27": "7", "29": "9", "39": ("fg",), "49": ("bg",), "59": ("line",)}


def line(of):
    """A line as cells: text and look. Of a blank only its background counts: kitty keeps the whole pen in what it erases, xterm
    (and the model) the background."""
    cells, look = [], {}
    for piece in re.split(r"(\x1b\[[0-9;:]*m|\x1b\]8;[^\x1b]*\x1b\\\\)", of.as_ansi()):
        if piece.startswith("\x1b["):
            for code in piece[2:-1].split(";"):
                kind = KINDS.get(code.split(":")[0], code)
                if code in ("", "0"):
                    look = {}
                elif code in OFF:
                    look = {k: v for k, v in look.items() if k not in OFF[code]}
                else:
                    look[kind] = code
        elif not piece.startswith("\x1b]"):
            cells += [(c, look.get("bg") if c in " \t" else tuple(sorted(look.items()))) for c in piece]
    while cells and cells[-1] == (" ", None):
        cells.pop()
    return cells


def state(case, pair):
    s, told = pair
    # As in the judge for xterm.js: where a soft break is noted differs once a program edits what it wrote.
    made = not case["name"].rsplit("-", 1)[-1].isdigit()
    c = s.cursor
    found = {f"row {y}": (line(s.line(y)), made and s.line(y).is_continued()) for y in range(s.lines)}
    history = s.historybuf
    found["history"] = [line(history.line(n)) for n in range(history.count)] if hasattr(history, "line") else history.count
    found["cursor"] = (c.x, c.y, s.cursor_visible, c.shape, c.blink)
    # Blanks that are to come are drawn in the pen's colours: those count, and what a letter would have.
    found["pen"] = (c.bold, c.italic, c.dim, c.reverse, c.strikethrough, c.decoration, c.fg, c.bg, c.decoration_fg)
    found["margins"] = (s.margin_top, s.margin_bottom)
    found["modes"] = (s.auto_repeat_enabled, s.cursor_key_mode, s.in_bracketed_paste_mode, s.focus_tracking_enabled,
                      s.is_using_alternate_linebuf(), s.current_key_encoding_flags())
    found["title"] = told.title if made else ""
    if s.is_using_alternate_linebuf():
        found["main"] = [line(s.main_linebuf.line(y)) for y in range(s.lines)]
    return found


def differ(a, b):
    found = []
    for key in {**a, **b}:
        p, q = a.get(key), b.get(key)
        if p == q:
            continue
        if isinstance(p, tuple) and isinstance(p[0], list):
            at = next((x for x, (c, d) in enumerate(zip(p[0], q[0])) if c != d), min(len(p[0]), len(q[0])))
            key, p, q = f"{key} column {at}", (p[0][at:at + 1], p[1]), (q[0][at:at + 1], q[1])
        found.append(f"{key}: {str(p)[:160]} != {str(q)[:160]}")
    return found[:6]


allowed = [entry.split(":")[0] for entry in open(sys.argv[1]) if ": " in entry]
# Not run: random-N, as with libvterm (what kitty restores where nothing was saved is its own), and generated streams with tabs,
# which kitty keeps as such.
cases = []
for case in json.load(sys.stdin):
    # Kitty clusters, and the model is told so.
    case["snapshot"] = case["kitty"]
    for key in ("original", "snapshot", "continuation"):
        case[key] = base64.b64decode(case[key])
    generated = case["name"].startswith("tame-") and b"\t" in case["original"] + case["continuation"]
    if not generated and not case["name"].startswith(("random-", "xterm-")):
        cases.append(case)
bad = exact = 0
for case in cases:
    original, snapshot, more = (case[key] for key in ("original", "snapshot", "continuation"))
    one, two = (screen(case["cols"], case["rows"]) for _ in range(2))
    parse_bytes(one[0], original)
    parse_bytes(two[0], USED)
    parse_bytes(two[0], snapshot)
    found = differ(state(case, one), state(case, two))
    for s, _ in (one, two):
        parse_bytes(s, more)
    found += ["then " + text for text in differ(state(case, one), state(case, two))]
    name = case["name"]
    may = name in allowed or any(a.endswith("*") and name.startswith(a[:-1]) for a in allowed)
    exact += not found
    if found and not may:
        bad += 1
        print(name, *found, sep="\n  ", file=said)
    elif not found and name in allowed:
        bad += 1
        print(f"{name}: is allowed to differ and does not", file=said)
print(f"{len(cases)} cases, {exact} exact, {bad} wrong", file=said)
os._exit(bad != 0)
