#!/usr/bin/env python3
"""Records the raw output of a program on a pty of 80x24: record.py OUT SECONDS CMD... ; keys come from stdin, in pieces
divided by bytes 0x00. A piece is typed when the program has been quiet for a moment, not by the clock: a slow machine
records the same. The environment is the caller's."""
import fcntl, os, pty, select, signal, struct, sys, termios, time

QUIET, PATIENCE = 0.25, 2.0  # seconds of silence before the next piece; longest wait for it
out, limit, cmd = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
keys = sys.stdin.buffer.read().split(b"\0")
pid, fd = pty.fork()
if pid == 0:
    # The size first: a program may ask for it before we get our turn.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execvp(cmd[0], cmd)
data, sent, answered = b"", 0, 0
start = said = typed = time.time()
while time.time() - start < limit:
    if select.select([fd], [], [], 0.02)[0]:
        try:
            more = os.read(fd, 65536)
        except OSError:
            break
        if not more:
            break
        data, said = data + more, time.time()
        # What a start-up waits for; looked for behind the last answer, wherever the reads were cut.
        for query, answer in (b"\x1b[6n", b"\x1b[1;1R"), (b"\x1b[c", b"\x1b[?62;22c"), (b"\x1b[0c", b"\x1b[?62;22c"):
            at = data.find(query, answered)
            if at >= 0:
                os.write(fd, answer)
                answered = at + len(query)
    now = time.time()
    if data and (now - said > QUIET and now - typed > QUIET or now - typed > PATIENCE):
        if sent == len(keys):
            break
        os.write(fd, keys[sent])
        sent, typed = sent + 1, now
try:
    os.kill(pid, signal.SIGKILL)
except OSError:
    pass
with open(out, "wb") as file:
    file.write(data)
sys.exit(0 if sent == len(keys) else f"record.py: {cmd[0]} took {sent} of {len(keys)} pieces of its keys in {limit} s")
