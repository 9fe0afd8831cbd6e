"""A SLURM of one machine, or of two in name, started and stopped by tests."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

CONFIGURATION = """\
ClusterName=counterpoise
SlurmctldHost=localhost
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=10
SlurmctldPort={port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
KillWait=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=batch_sched_delay=0,sched_interval=1
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 State=UNKNOWN\n"
# In a namespace of its own a node has the name by which it and the others find it.
NAMED = """\
hostname {name} && sed 's/localhost/localhost {names}/' /etc/hosts > hosts-{name} &&
mount --bind hosts-{name} /etc/hosts && exec /usr/sbin/slurmd -D -N {name}
"""


def why_not():
    """The reason for which SLURM cannot be started here; "" where it can."""
    for command in ("munged", "slurmctld", "slurmd", "sbatch"):
        if shutil.which(command, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            return f"{command} is not installed (apt-get install slurm-wlm munge)"
    if os.geteuid():
        return "SLURM's daemons are started as root"
    return ""


def _port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def running(*nodes):
    """Set SLURM_CONF to that of a SLURM with nodes of two CPUs, while it runs.

    Without names of nodes there is one, localhost.
    """
    if reason := why_not():
        pytest.skip(reason)
    if nodes and subprocess.run(["unshare", "-m", "-u", "true"], capture_output=True).returncode:
        pytest.skip("several nodes on a machine need unshare")
    folder = Path(tempfile.mkdtemp(prefix="counterpoise-slurm-"))
    folder.chmod(0o755)  # munged is another user
    for name in ("state", "munge"):
        (folder / name).mkdir()
    user = pwd.getpwnam("munge")
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for path in (key.parent, key):
        os.chown(path, user.pw_uid, user.pw_gid)
    conf = folder / "slurm.conf"
    named = "".join(NODE.format(name=node, port=_port()) for node in nodes or ["localhost"])
    conf.write_text(
        CONFIGURATION.format(folder=folder, port=_port()).replace("Part", f"{named}Part")
    )
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    munged = [
        *("/usr/sbin/munged", "--foreground", f"--socket={key.parent}/socket"),
        *(f"--key-file={key}", f"--pid-file={key.parent}/pid", f"--seed-file={key.parent}/seed"),
        *(f"--log-file={key.parent}/log",),
    ]
    daemons = []

    def start(name, command, **settings):
        with (folder / f"{name}.out").open("wb") as out:
            daemons.append(
                subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, **settings)
            )

    try:
        start("munged", munged, user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        wait_for(lambda: (key.parent / "socket").exists())
        start("slurmctld", ["/usr/sbin/slurmctld", "-D", "-c"])
        for node in nodes:
            script = NAMED.format(name=node, names=" ".join(nodes))
            start(node, ["unshare", "-m", "-u", "sh", "-c", script])
        if not nodes:
            start("slurmd", ["/usr/sbin/slurmd", "-D", "-N", "localhost"])
        wait_for(
            lambda: (
                call("sinfo", "-h", "-N", "-o", "%T", check=False).split()
                == ["idle"] * max(1, len(nodes))
            )
        )
        yield
    finally:
        call("scancel", "--user=root", check=False)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(30)
            except subprocess.TimeoutExpired:
                daemon.kill()
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
        shutil.rmtree(folder, ignore_errors=True)


def call(*words, check=True):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def wait_for(said, seconds=120):
    until = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < until, "it did not come in time"
        time.sleep(0.2)


@contextlib.contextmanager
def watched(said="%j %T"):
    """Yield a list to which what waits and runs in SLURM's queue is added, five times a second."""
    seen, over = [], threading.Event()

    def look():
        while not over.wait(0.2):
            words = ("-r", "-t", "PENDING,RUNNING", "-o", said)
            seen.append(call("squeue", "-h", *words, check=False))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()
