# Fails unless everything it tries is refused.
import os, socket
def refused(what, f):
    try:
        f()
    except OSError:
        return
    raise SystemExit(what + " was possible")
refused("a connection", lambda: socket.create_connection(("192.0.2.1", 80), timeout=2))
refused("writing to the data", lambda: open("/data/new", "w"))
refused("reading the machine's passwords", lambda: open("/etc/shadow"))
names = sorted(os.listdir("/data"))
assert names, "no data"
with open("/out/tables.txt", "w") as f:
    f.write("\n".join(names) + "\n")
