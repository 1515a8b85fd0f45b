#!/usr/bin/env python3
"""Judges snapshots with the real xterm: one is fed with what the program wrote, another, which was used before, with the
snapshot; they must answer the same when they are asked for their cells, cursor, modes and settings, and stay so when both are
fed with the continuation.

    xvfb-run python3 xterm_real.py xterm_real_allowed.txt < cases.json

Exits 1 if a case differs that is not allowed to, or the other way round, and 77 if there is no xterm or no display. The list has
lines `name: reason`; `name-*` allows all that begin so and may be exact."""
import base64, fcntl, json, os, pty, re, select, shutil, struct, subprocess, sys, termios, time, tty

USED = b"\x1b[31mold\x1b[?1049h\x1b[2;4r\x1b[?6h\x1b[4h\x1b(0\x1b[?25l\x1b[?2004h\x1b[?1003h\x1b[?1006h\x1b[5 qrubbish\x1b[?69h\x1b[3;9s"
MODES = (1, 3, 5, 6, 7, 12, 25, 40, 45, 47, 66, 67, 69, 9, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1036, 2004)
SETTINGS = (b"m", b"r", b"s", b" q", b'"q')


class Xterm:
    """Talks to an xterm over a terminal of its own, of which we are the program."""

    def __init__(self, cols, rows, kind):
        master, self.fd = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        tty.setraw(self.fd)
        os.set_inheritable(master, True)
        resources = ["disallowedWindowOps:", "allowWindowOps: true", "checksumExtension: 4"]
        options = [part for text in resources for part in ("-xrm", f"XTerm*{text}")]
        slot = f"-S{os.ttyname(self.fd).rsplit('/', 1)[1]}/{master}"
        self.process = subprocess.Popen(
            ["xterm", "-ti", kind, "-u8", "-fn", "fixed", "-geometry", f"{cols}x{rows}", *options, slot], pass_fds=[master],
            stderr=subprocess.DEVNULL, env=dict(os.environ, LC_ALL="C.UTF-8"))
        os.close(master)
        self.rows, self.cols = rows, cols
        # Its first line is the number of its window.
        if b"\n" not in self.hear(b"\n"):
            raise SystemExit(77)

    def hear(self, end):
        heard, until = b"", time.time() + 20
        while end not in heard and time.time() < until:
            if select.select([self.fd], [], [], 0.2)[0]:
                heard += os.read(self.fd, 65536)
        return heard

    def say(self, data):
        """In pieces, each of which is known to be taken."""
        while data:
            os.write(self.fd, data[:2048])
            data = data[2048:]

    def reset(self):
        self.say(b"\x18\x1b\\\x1bc\x1b[!p\x1b[?69l\x1b[r\x1b[3J\x1b[?40l\x1b]104\x07\x1b[H\x1b[5n")
        self.hear(b"\x1b[0n")

    def state(self):
        # What is asked must not end what is under way: the last character for REP, a pending wrap. Only the screen is looked at.
        questions = {"cursor": b"\x1b[6n"}
        questions |= {f"mode {n}": b"\x1b[?%d$p" % n for n in MODES}
        questions |= {f"setting {s.decode()}": b"\x1bP$q" + s + b"\x1b\\" for s in SETTINGS}
        # Cell by cell a large screen would take for ever: there row by row.
        step = 1 if self.cols <= 30 else self.cols
        for y in range(1, self.rows + 1):
            for x in range(1, self.cols + 1, step):
                questions[f"cell {y};{x}"] = b"\x1b[1;1;%d;%d;%d;%d*y" % (y, x, y, x + step - 1)
        self.say(b"\x1b[5n")
        self.hear(b"\x1b[0n")
        # In origin mode rectangles are counted from the margins: both sides alike.
        names, answers = list(questions), []
        for n in range(0, len(names), 60):
            self.say(b"".join(questions[name] for name in names[n:n + 60]) + b"\x1b[5n")
            answers.append(self.hear(b"\x1b[0n"))
        parts = b"".join(answers).replace(b"\x1b[0n", b"").replace(b"\x1b\\", b"").split(b"\x1b")[1:]
        return dict(zip(names, parts)) | {"answers": len(parts)}


if not shutil.which("xterm") or not os.environ.get("DISPLAY"):
    print("there is no xterm, or no display for it", file=sys.stderr)
    sys.exit(77)
allowed = [entry.split(":")[0] for entry in open(sys.argv[1]) if ": " in entry]
# Generated streams on the same small screen as those made by hand would be most of the time: a quarter of them is run.
cases = [c for c in json.load(sys.stdin) if not c["name"].startswith("kitty-")
         and (c["cols"] > 30 or not c["name"].rsplit("-", 1)[-1].isdigit() or "47" in c["name"] or "-1" not in c["name"][:-3] and int(c["name"].rsplit("-", 1)[-1]) % 8 == 0)]
# A recording may be cut anywhere: in a sequence or in a character.
UNDER_WAY = re.compile(rb"\x1b([\[P\]][^\x40-\x7e\x07\x1b]*|[ -/]*)$|[\xc0-\xff][\x80-\xbf]?[\x80-\xbf]?$")
pairs, bad, exact = {}, 0, 0
for case in cases:
    # Rectangles, and so checksums of cells, are for a VT420 and later; sixels for a VT340, of which the cells cannot be asked.
    like = (case["cols"], case["rows"], "vt340" if "sixel" in case["name"] else "vt525")
    if like not in pairs:
        pairs[like] = Xterm(*like), Xterm(*like)
    one, two = pairs[like]
    original, snapshot, more = (base64.b64decode(case[key]) for key in ("original", "snapshot", "continuation"))
    # As a view does: the default of its own terminal, of which xterm can only be told by what it is.
    snapshot = snapshot.replace(b"\x1b[0 q", b"\x1b[2 q")
    for xterm in (one, two):
        xterm.reset()
    one.say(original)
    two.say(USED)
    two.say(snapshot)
    found = []
    # Asked now only where that changes nothing: a sequence under way would be cut off by a question.
    for when, feed in (("", b""), ("then ", more)):
        if feed:
            one.say(feed)
            two.say(feed)
        elif UNDER_WAY.search(original) or case["name"].startswith("unfinished") or case["name"] in ("rep", "rep-coloured", "single-shift", "combining-follows", "combining-at-the-edge"):
            continue
        a, b = one.state(), two.state()
        if like[2] != "vt340" and not any(name.startswith("cell") for name in a):
            sys.exit("this xterm does not say what its cells are")
        found += [f"{when}{name}: {a.get(name)} != {b.get(name)}" for name in {**a, **b} if a.get(name) != b.get(name)][:5]
    name = case["name"]
    may = name in allowed or any(a.endswith("*") and name.startswith(a[:-1]) for a in allowed)
    exact += not found
    if found and not may:
        bad += 1
        print(name, *found, sep="\n  ", file=sys.stderr)
    elif not found and name in allowed:
        bad += 1
        print(f"{name}: is allowed to differ and does not", file=sys.stderr)
for pair in pairs.values():
    for xterm in pair:
        xterm.process.terminate()
print(f"{len(cases)} cases, {exact} exact, {bad} wrong", file=sys.stderr)
sys.exit(bad != 0)
