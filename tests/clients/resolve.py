"""Looks each argument up as Python programs do: `NAME ADDRESSES MILLISECONDS`, a line each; `-` where there is no such name."""

import socket
import sys
import time

for name in sys.argv[1:]:
    begun = time.monotonic()
    try:
        found = ",".join(entry[4][0] for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
    except socket.gaierror as error:
        missing = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None))
        found = "-" if missing else f"fault:{error.errno}"
    print(name, found, int((time.monotonic() - begun) * 1000))
