"""Prints one line per name: its IPv4 addresses in order, or what went wrong. See resolve.c."""

import socket
import sys

for name in sys.argv[1:]:
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
        print(name, "=", *sorted({address[0] for *_, address in found}))
    except socket.gaierror as error:
        print(name, "=", "not found" if error.errno == socket.EAI_NONAME else error.strerror)
