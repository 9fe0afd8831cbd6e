"""The Ray cluster that the engine `ray` runs on: found or made, and checked."""

import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from counterpoise.study.engines import _parcel
from counterpoise.study.settings import Engine, bytes_of
from counterpoise.study.storage import Storage
from counterpoise.user_code import raised

try:
    import ray
    from ray import exceptions
    from ray._private.authentication.authentication_token_setup import (
        maybe_enable_token_auth_if_token_available as allow_tokens,
    )
    from ray._private.services import find_bootstrap_address
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode
except ImportError as error:
    raise ValueError(
        f"the engine ray must be installed, but: {error}; pip install 'counterpoise[ray]'"
    ) from error

_ANSWER, _REACHED = 60.0, 10.0  # seconds, for a machine's first answer, and for the head's
_GONE = (exceptions.TaskUnschedulableError, exceptions.NodeDiedError)


@contextmanager
def connected(engine: Engine) -> Iterator[str]:
    """Connect to a cluster, or make one on this machine, and see that its machines fit.

    Yields:
        A sentence on the cluster.

    Raises:
        ValueError: there is none that answers, or one of its machines has other versions.
    """
    if engine.storage:
        Storage(engine.storage).check()
    ours = not ray.is_initialized()
    if ours:
        with _same_signals():
            _connect(engine.address)
    try:
        machines = _check_machines(engine)
        have = ray.cluster_resources()
        gpus = f" and {have['GPU']:g} GPUs" if have.get("GPU") else ""
        yield (
            f"Ray at {ray.get_runtime_context().gcs_address}: {machines} "
            f"{'machine' if machines == 1 else 'machines'} with {have.get('CPU', 0):g} CPUs{gpus}"
        )
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
    place = address or os.environ.get("RAY_ADDRESS") or _last_started() or "local"
    if place not in ("local", "auto") and not re.fullmatch(r".+:\d+", place):
        raise ValueError(f"the address of a Ray cluster must be like 10.0.0.1:6379, got {place}")
    before = os.environ.pop("RAY_ADDRESS", None)  # Ray would take it for more than an argument
    try:
        if place not in ("local", "auto"):
            _reach(place)  # Ray itself would try for minutes
        if place == find_bootstrap_address(None):  # `ray start` made it, with tokens if it could
            allow_tokens(warn_if_disabled=False)
        ray.init(place, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises whatever comes
        said = " ".join(str(error).split())[:300]
        raise ValueError(
            f"a Ray cluster must answer at {place}, but: {said}; see that it runs (ray status), "
            "set RAY_AUTH_MODE=token if it asks for one, or give --set engine.address=local for "
            "one here"
        ) from error
    finally:
        if before is not None:
            os.environ["RAY_ADDRESS"] = before


def _last_started() -> str:
    """Return the address of the cluster that `ray start` made this machine part of; "" if gone."""
    place = find_bootstrap_address(None)
    try:
        _reach(place or "")
    except (OSError, ValueError):
        return ""
    return place or ""


def _reach(place: str) -> None:
    """Open a connection, and close it.

    Raises:
        OSError: nobody answers.
        ValueError: it is no address.
    """
    host, _, port = place.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _REACHED).close()


@contextmanager
def _same_signals() -> Iterator[None]:
    """Keep what is done when somebody ends this process, which Ray would take over."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_machines(engine: Engine) -> int:
    """Refuse a cluster in which a machine has other versions than this one, or no storage.

    Returns:
        The number of machines.
    """
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
    return fit


def needs_of(engine: Engine) -> dict[str, float]:
    """Return what a run needs on a machine, in Ray's words."""
    memory = bytes_of(engine.memory or "0")
    return {"CPU": engine.cpus, "GPU": engine.gpus, "memory": memory}


def too_much(engine: Engine) -> str:
    """Say that too few machines have what a run needs; "" where enough have."""
    e, needs = engine, needs_of(engine)
    have = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    fit = sum(all(m.get(k, 0) >= least for k, least in needs.items()) for m in have)
    if fit >= e.nodes:
        return ""
    if fit:
        return (
            f"waiting for more machines: engine.nodes asks for {e.nodes} with room for a run, and "
            f"the cluster has {fit}; if none will come, stop this and ask for fewer"
        )
    most = {k: max(m.get(k, 0) for m in have) for k in needs}
    return (
        f"waiting for a machine with room for a run: engine.cpus, gpus and memory ask for "
        f"{e.cpus:g}, {e.gpus:g} and {e.memory or 'any'}, but the machines of the cluster have "
        f"{most['CPU']:g}, {most['GPU']:g} and {most['memory'] / 1e9:.1f}GB at most; if none "
        "will come, stop this and ask for less"
    )


def idle_gpus(engine: Engine) -> str:
    """Say that the machines have GPUs which no run uses; "" otherwise."""
    have = ray.cluster_resources().get("GPU", 0)
    if engine.gpus or not have:
        return ""
    return (
        f"the machines have {have:g} GPUs, and runs use none of them: set engine.gpus = 1 in "
        "the plan, or 0.25 so that four runs share one"
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error that says something."""
    if isinstance(error, exceptions.RayTaskError) and error.cause is not None:
        return raised(error.cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
