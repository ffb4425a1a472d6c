"""interrupt.py PROGRAM [ARGUMENT]...: runs it and sends Ctrl-C's signal as soon as it listens for it.

Ends with the program's exit code, or 125 when the program ended before it listened, or did not
listen or end within a minute."""
import signal
import subprocess
import sys
import time


def listens(pid):
    """Whether the process has its own handler of SIGINT (SigCgt is a mask in hexadecimal)."""
    with open("/proc/%d/status" % pid) as status:
        caught = next(line for line in status if line.startswith("SigCgt:"))
    return int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1


def main():
    program = subprocess.Popen(sys.argv[1:])
    end = time.monotonic() + 60
    while program.poll() is None and not listens(program.pid):
        if time.monotonic() > end:
            program.kill()
        time.sleep(0.0005)
    if program.poll() is not None:
        print("it ended before it listened", file=sys.stderr)
        return 125
    program.send_signal(signal.SIGINT)
    try:
        return program.wait(60)
    except subprocess.TimeoutExpired:
        program.kill()
        print("it did not end", file=sys.stderr)
        return 125


sys.exit(main())
