"""A study whose parent, fork server or worker is killed ends with the same bytes."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter

import pytest

EVERY = os.environ.get("COUNTERPOISE_FAULTS") == "all"
CASES, PARTS = (200, 4) if EVERY else (4, 1)

CALLS = {  # of strace, as `Operations` names them
    "openat": "open to write",
    "write": "write",
    "fsync": "fsync",
    "rename": "replace",
    "unlink": "unlink",
    "mkdir": "mkdir",
    "flock": "lock",
}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_an_operation_the_same_bytes(tmp_path, part):
    words = [str(tmp_path), str(CASES), str(part), str(PARTS)]
    command = [sys.executable, "-m", "tests.faults.real_processes", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{CASES // PARTS} cases" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_no_operation_escapes_the_log(tmp_path):
    """The system's own list of calls that change files below the study's folder, and ours."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from collections import Counter\n"
        "from pathlib import Path\n"
        "from tests.faults import tiny\n"
        "from tests.faults.operations import Operations\n"
        "from counterpoise import report\n"
        "from counterpoise.study import open_study\n"
        "folder = Path(sys.argv[1])\n"
        "with tiny.in_this_process(), Operations(folder) as operations:\n"
        "    tiny.compare(folder)\n"
        "    report.render(open_study(folder))\n"
        "print(sorted(Counter(o.kind for o in operations.log if o.kind != 'open').items()))\n"
    )
    study, trace = tmp_path / "study", tmp_path / "trace"
    calls = "trace=open,openat,openat2,creat,write,pwrite64,writev,fsync,fdatasync,rename,renameat,"
    calls += "renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,flock,link,linkat,symlink,symlinkat,"
    calls += "truncate,ftruncate,fallocate,sendfile,copy_file_range"
    command = ["strace", "-f", "-y", "-e", calls, "-o", str(trace), sys.executable, str(script)]
    done = subprocess.run(
        [*command, str(study)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    seen = Counter()
    for line in trace.read_text(errors="replace").splitlines():
        call = re.match(r"\d+ +(\w+)\((.*)\) += ", line)
        if call is None or f"{study}" not in call[2].split(", O_RDONLY")[0]:
            continue
        reads = call[1] == "openat" and not re.search("O_(WRONLY|RDWR|CREAT)", call[2])
        if not reads and "LOCK_UN" not in call[2]:
            seen[CALLS[call[1]]] += 1
    assert str(sorted(seen.items())) == done.stdout.strip()
