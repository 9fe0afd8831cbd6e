"""The Ray cluster that the engine `ray` runs on: found or made, and checked."""

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from counterpoise.study.engines import _parcel
from counterpoise.study.settings import Engine
from counterpoise.study.storage import Storage
from counterpoise.user_code import raised

try:
    import ray
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode
except ImportError as error:
    raise ValueError(
        f"the engine ray must be installed, but: {error}; pip install 'counterpoise[ray]'"
    ) from error

_ANSWER, _REACHED = 60.0, 10.0  # seconds, for a machine's first answer, and for the head's
_GONE = (exceptions.TaskUnschedulableError, exceptions.NodeDiedError)


@contextmanager
def connected(engine: Engine) -> Iterator[None]:
    """Connect to a cluster, or make one on this machine, and see that its machines fit.

    Raises:
        ValueError: there is none that answers, or one of its machines has other versions.
    """
    if engine.storage:
        Storage(engine.storage).check()
    ours = not ray.is_initialized()
    if ours:
        _connect(engine.address)
    try:
        _check_machines(engine)
        yield
    finally:
        if ours:
            ray.shutdown()


def _connect(address: str) -> None:
    if address.startswith("ray://"):
        raise ValueError(
            f"the address must be that of a cluster which this machine is part of, but got "
            f"{address}; to run from outside: ray job submit --address http://HEAD:8265 -- "
            "counterpoise compare ..."
        )
    try:
        host, colon, port = address.rpartition(":")
        if colon:  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), _REACHED).close()
        ray.init(address or None, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises whatever comes
        said = " ".join(str(error).split())[:300]
        raise ValueError(
            f"a Ray cluster must answer at {address or 'its usual address'}, but: {said}; see that "
            "it runs (ray status), or leave --address out for one on this machine"
        ) from error


def _check_machines(engine: Engine) -> None:
    """Refuse a cluster in which a machine has other versions than this one, or no storage."""
    ours, storage = _parcel.identity(), engine.storage

    def look() -> dict[str, str]:  # goes as code: on a machine without counterpoise it works, too
        try:
            from counterpoise.study.engines import _parcel
            from counterpoise.study.storage import Storage

            found = _parcel.identity()
        except ImportError:
            return {}
        if storage:
            try:
                Storage(storage).check()
            except ValueError as error:
                found["storage"] = str(error)
        return found

    task = ray.remote(num_cpus=0, max_retries=0)(look)
    alive = [n for n in ray.nodes() if n["Alive"]]
    answers = [task.options(scheduling_strategy=OnNode(n["NodeID"], False)).remote() for n in alive]
    fit, why = 0, ""
    for node, answer in zip(alive, answers, strict=True):
        host = node["NodeManagerHostname"]
        try:
            found = ray.get(answer, timeout=_ANSWER)
        except _GONE as error:  # or it has only just come: its runs look once more
            why = f"{host}: {first_line(error)}"
            continue
        except exceptions.RayError as error:
            raise ValueError(
                f"{host} must do a task, but: {first_line(error)}; see ray status, and that "
                "counterpoise is installed there"
            ) from error
        fit += 1
        if said := _parcel.disagreement(found, ours, host) or found.get("storage", ""):
            raise ValueError(said)
    if not fit:
        raise ValueError(f"a machine of the cluster must answer, but none does ({why})")


def first_line(error: BaseException) -> str:
    """Return the first line of an error that says something."""
    if isinstance(error, exceptions.RayTaskError) and error.cause is not None:
        return raised(error.cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
