"""Run one command and report its usage.  A process of its own, and a small one.

On Linux a process inherits, as its peak, the memory of the one that it was forked from: whoever measures must be
smaller than what is measured.  So this imports nothing that is not built in, and runs under `python -I -S`.
"""

import os
import sys
import time


def main() -> None:
    """Run the arguments after the first, which is the file descriptor for what is found.

    That is `wall first_byte cpu peak exit_code`, in seconds and bytes.
    """
    telling = int(sys.argv[1])
    reading, writing = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        os.close(reading)
        os.close(writing)
        os.close(telling)
        os.execvp(sys.argv[2], sys.argv[2:])
    os.close(writing)
    first_byte = None
    while os.read(reading, 1 << 20):
        first_byte = first_byte or time.monotonic() - started
    _, status, used = os.wait4(child, 0)
    wall = time.monotonic() - started
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    code = os.waitstatus_to_exitcode(status)
    os.write(telling, f"{wall} {first_byte or wall} {used.ru_utime + used.ru_stime} {peak} {code}".encode())


if __name__ == "__main__":
    main()
