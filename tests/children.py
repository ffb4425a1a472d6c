"""Processes that tests start."""
import subprocess


def stop(process, patience=20):
    """Asks it to end; one that has not after so many seconds is killed. True: it ended by itself."""
    process.terminate()
    try:
        process.wait(patience)
        return True
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
