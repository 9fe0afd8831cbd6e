"""Count the operations on files of several processes together, or die at one.

FAULTS_ROOT     the folder whose operations count
FAULTS_COUNTER  a file that grows by a byte an operation, whichever process it is of
FAULTS_AT       the number of the operation before which a process is killed
FAULTS_WHO      "one": that process alone; "all": its whole process group
"""

import fcntl
import os
import signal

from tests.faults.operations import Operations

flock, write = fcntl.flock, os.write


def install():
    """Count in this process from here on."""
    Operations(os.environ["FAULTS_ROOT"], before=_count).__enter__()


def _count(_):
    with open(os.environ["FAULTS_COUNTER"], "ab") as counter:
        flock(counter, fcntl.LOCK_EX)
        write(counter.fileno(), b".")
        number = os.fstat(counter.fileno()).st_size - 1
    if number == int(os.environ["FAULTS_AT"]):
        if os.environ["FAULTS_WHO"] == "all":
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
