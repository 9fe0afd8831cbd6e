"""Kill a real study, its parent, its fork server or a worker, at chosen operations on files.

    python -m tests.faults.real_processes FOLDER CASES PART OF

A study is run undisturbed, its operations counted, and then once for each case killed at one of
them and resumed. The parent is forked from this process, which has imported all that it needs, and
starts a fork server and workers of its own. CASES are spread over all operations, and of them every
OF-th, from PART on, is done here. Prints the number of cases; raises for the first that fails.
"""

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
SEARCHED = [HERE / "every_process", HERE.parents[1]]


def main(folder, cases, part, of):
    """Do the cases."""
    from tests.faults.tiny import tree

    folder.mkdir(parents=True, exist_ok=True)
    whole = run(folder / "undisturbed", -1, "one")
    assert whole == 0, whole
    expected = tree(folder / "undisturbed")
    number = (folder / "counter").stat().st_size
    print(f"{number} operations", flush=True)
    done = 0
    for case in range(part, cases, of):
        at, who = case * number // cases, ("one", "all")[case // 2 % 2]
        study = folder / "study"
        code = run(study, at, who)
        assert code in (0, -9), (at, who, code)
        if code:
            code = run(study, -1, who)
        assert code == 0, (at, who, code)
        assert tree(study) == expected, (at, who)
        assert not [p for p in study.rglob("*") if p.name.endswith(".tmp")], (at, who)
        shutil.rmtree(study)
        done += 1
    print(f"{done} cases", flush=True)


def run(study, at, who):
    """Run the study in a process group of its own, to its end or until it is killed there."""
    counter = study.parent / "counter"
    counter.write_bytes(b"")
    process = os.fork()
    if not process:
        os.setsid()
        os.environ |= {
            "FAULTS_ROOT": str(study),
            "FAULTS_COUNTER": str(counter),
            "FAULTS_AT": str(at),
            "FAULTS_WHO": who,
            "PYTHONPATH": os.pathsep.join(map(str, [*SEARCHED, *sys.path])),
        }
        os._exit(child(study))
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def child(study):
    """Be the parent of a study."""
    from tests.faults import counting, tiny

    from counterpoise.study import stream
    from counterpoise.study.events import Failed

    counting.install()
    events = stream({study: tiny.PLAN}, data={study: tiny.toy()}, workers=2)
    failed = [e.reason for e in events if isinstance(e, Failed)]
    if failed:
        print(failed, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    import torch

    import counterpoise.study.one_run  # noqa: F401  so that the fork has it

    torch.set_num_threads(1)
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
