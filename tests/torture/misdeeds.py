"""Things that a command must not do, to test the cage."""

import os
import signal
import sys
import time

match sys.argv[1]:
    case "raise":
        raise RuntimeError("unforeseen")
    case "crash":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    case "hang":
        while time.process_time() < 60.0:
            pass
    case "eat":
        bytearray(2 * 10**8)
