#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A box's serial console, for scripts: types a line, and prints what comes until a prompt stands at the end.

Use: console.py SOCKET SECONDS PROMPT [LINE]
SOCKET is the emulator's chardev, PROMPT a regular expression that what was said must end with; after `...` it may be anywhere. LINE is typed, and Enter.
An empty one is not typed, and one that begins with a control character without Enter. Without LINE Enter is typed now and again,
until the prompt is there. Escape sequences are left out of what is printed. Exit code 1: the prompt did not come.
"""
import re
import socket
import sys
import time

ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>78M])|\r|\x00")


def main():
    path, seconds, prompt = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    anywhere = prompt.startswith("...")
    prompt = re.compile(prompt[3:] if anywhere else prompt + r"\s*\Z")
    line = sys.argv[4] if len(sys.argv) > 4 else None
    console = socket.socket(socket.AF_UNIX)
    console.connect(path)
    console.settimeout(0.2)
    end = time.monotonic() + seconds
    poke = 0.0
    if line:
        console.sendall(line.encode() + (b"\r" if line >= " " else b""))
        # What was typed is echoed; the prompt before it must not be taken for the one behind the answer.
        time.sleep(0.3)
    seen = ""
    while time.monotonic() < end:
        if line is None and time.monotonic() >= poke:
            console.sendall(b"\r")
            poke = time.monotonic() + 3
        got = b""
        try:
            got = console.recv(65536)
            if not got:
                break
            seen += got.decode(errors="replace")
        except socket.timeout:
            pass
        # A prompt is one when nothing comes after it.
        if got and not anywhere:
            continue
        text = ESCAPES.sub("", seen)
        if prompt.search(text) and (not line or "\n" in text or line < " "):
            print(text)
            return 0
    print(ESCAPES.sub("", seen))
    return 1


sys.exit(main())
