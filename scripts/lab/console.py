#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A box's serial console, for scripts: types a line, and prints what comes until a prompt stands at the end.

Use: console.py SOCKET SECONDS PROMPT [LINE]
SOCKET is the emulator's chardev, PROMPT a regular expression that the last line must end with. Without LINE nothing is typed, but
Enter now and again, until the prompt is there. Escape sequences are left out of what is printed. Exit code 1: the prompt did not come.
"""
import re
import socket
import sys
import time

ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78M])|\r|\x00")


def main():
    path, seconds, prompt = sys.argv[1], float(sys.argv[2]), re.compile(sys.argv[3] + r"\s*\Z")
    line = sys.argv[4] if len(sys.argv) > 4 else None
    console = socket.socket(socket.AF_UNIX)
    console.connect(path)
    console.settimeout(0.2)
    end = time.monotonic() + seconds
    poke = 0.0
    if line is not None:
        console.sendall(line.encode() + b"\r")
        # What was typed is echoed; the prompt before it must not be taken for the one behind the answer.
        time.sleep(0.3)
    seen = ""
    while time.monotonic() < end:
        if line is None and time.monotonic() >= poke:
            console.sendall(b"\r")
            poke = time.monotonic() + 3
        try:
            got = console.recv(65536)
            if not got:
                break
            seen += got.decode(errors="replace")
            continue
        except socket.timeout:
            pass
        text = ESCAPES.sub("", seen)
        if prompt.search(text) and (line is None or "\n" in text):
            print(text)
            return 0
    print(ESCAPES.sub("", seen))
    return 1


sys.exit(main())
