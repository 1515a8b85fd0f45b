#!/usr/bin/env python3
"""Records the raw output of a program on a pty of 80x24: record.py OUT SECONDS CMD... ; keys come from stdin, with
pauses of a fifth of a second at each byte 0x00."""
import fcntl, os, pty, select, struct, sys, termios, time
out, limit, cmd = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
keys = sys.stdin.buffer.read().split(b"\0")
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", LANG="C.UTF-8", LC_ALL="C.UTF-8", HISTFILE="/dev/null")
    os.execvp(cmd[0], cmd)
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
data, start, sent = b"", time.time(), 0
next_key = start + 0.5
while time.time() - start < limit:
    r, _, _ = select.select([fd], [], [], 0.05)
    if r:
        try:
            b = os.read(fd, 65536)
        except OSError:
            break
        if not b:
            break
        data += b
        if b"\x1b[6n" in b: os.write(fd, b"\x1b[1;1R")
        if b"\x1b[c" in b or b"\x1b[0c" in b: os.write(fd, b"\x1b[?62;22c")
    if sent < len(keys) and time.time() > next_key:
        os.write(fd, keys[sent]); sent += 1; next_key = time.time() + 0.2
    if sent == len(keys) and time.time() > next_key + 1.0:
        break
try: os.kill(pid, 9)
except OSError: pass
open(out, "wb").write(data)
