#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A time server (RFC 5905, server mode) whose clock is off by so many seconds: who takes the time from it can be told by that.

Use: ntp.py ADDRESS SECONDS
"""
import socket
import struct
import sys
import time

SINCE_1900 = 2208988800


def stamp(seconds):
    return struct.pack("!II", int(seconds) + SINCE_1900, int(seconds % 1 * 2**32))


def main():
    address, off = sys.argv[1], float(sys.argv[2])
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 123))
    while True:
        asked, client = server.recvfrom(512)
        if len(asked) < 48 or asked[0] & 7 != 3:
            continue
        now = time.time() + off
        # No leap second, version as asked, mode server; stratum 2, of 127.0.0.1; the client's transmit time is the origin.
        head = struct.pack("!BBbbII4s", (asked[0] & 0x38) | 4, 2, asked[2], -20, 64, 64, bytes([127, 0, 0, 1]))
        server.sendto(head + stamp(now) + asked[40:48] + stamp(now) + stamp(time.time() + off), client)


main()
