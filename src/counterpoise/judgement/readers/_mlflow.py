"""Runs of MLflow: a tracking folder or a database of SQLite, by MLflow's own client."""

from __future__ import annotations

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.judgement._record import Record
from counterpoise.judgement.readers._settings_file import INSTALL
from counterpoise.text import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

_META = "meta.yaml"
_DATABASES = (".db", ".sqlite", ".sqlite3")
_ALLOW = "MLFLOW_ALLOW_FILE_STORE"  # MLflow refuses folders from 3.7 on, unless it is asked to
_PARENT = "mlflow.parentRunId"


def find(files: Sequence[Path]) -> list[Path]:
    """Return databases, and the folders of experiments."""
    databases = [path for path in files if path.suffix in _DATABASES and _has_experiments(path)]
    metas = (path for path in files if path.name == _META)
    return [*databases, *(meta.parent for meta in metas if _names_experiment(meta))]


def _names_experiment(meta: Path) -> bool:
    with meta.open("rb") as file:
        text = file.read(10_000)
    return b"experiment_id:" in text and b"run_id:" not in text


def _has_experiments(path: Path) -> bool:
    """Return whether MLflow made a database, which its client would turn any other one into."""
    query = "SELECT count(*) FROM sqlite_master WHERE name IN ('experiments', 'alembic_version')"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchone() == (2,)
    except sqlite3.Error:
        return False


def read(paths: Sequence[Path]) -> list[Record]:
    """Return a record of each run that has no runs below it: its parameters, tags and last scores.

    Raises:
        ValueError: MLflow is not installed, or cannot read what is there.
    """
    with _quiet():
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise ValueError(f"runs of MLflow need mlflow-skinny: {INSTALL}") from None
        records = []
        for path in paths:
            try:
                if path.is_file():
                    records += _records(MlflowClient(_read_only(path)), path, ())
                else:
                    client = MlflowClient(path.parent.resolve().as_uri())
                    records += _records(client, path, (path.name,))
            except ImportError as error:
                raise ValueError(f"{path} needs {error.name}: {INSTALL}") from None
            except Exception as error:  # those of MLflow, SQLAlchemy and alembic
                raise ValueError(
                    f"{path} must be a database or folder that MLflow reads, but it says: "
                    f"{one_line(error)}"
                ) from None
    return records


def _read_only(database: Path) -> str:
    """Return the address of a database that its client cannot bring up to date.

    The driver is named, as of `sqlite:///` the client takes all that follows for a path to be made.
    SQLAlchemy writes it, as its versions differ in what they escape.
    """
    from sqlalchemy import URL

    uri = database.resolve().as_uri()
    url = URL.create("sqlite+pysqlite", database=uri, query={"mode": "ro", "uri": "true"})
    return url.render_as_string(hide_password=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let MLflow read folders, and say nothing of what its libraries will drop some day."""
    before, level = os.environ.get(_ALLOW), logging.root.manager.disable
    logging.disable(logging.INFO)
    os.environ[_ALLOW] = "true"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        if before is None:
            del os.environ[_ALLOW]
        else:
            os.environ[_ALLOW] = before


def _records(client: MlflowClient, path: Path, ids: Sequence[str]) -> list[Record]:
    """Return the runs of experiments; of all where none is named."""
    every = client.search_experiments()
    names = {e.experiment_id: e.name for e in every if not ids or e.experiment_id in ids}
    runs, page = [], client.search_runs(list(names))
    runs += page
    while page.token:
        page = client.search_runs(list(names), page_token=page.token)
        runs += page
    parents = {run.data.tags.get(_PARENT) for run in runs}
    return [
        Record(
            f"run {run.info.run_name} of {path}",
            {name: [(0.0, float(value))] for name, value in run.data.metrics.items()},
            {
                "experiment": names[run.info.experiment_id],
                **{k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")},
                **run.data.params,
            },
            run.info.run_name or run.info.run_id,
            state=run.info.status.lower(),
        )
        for run in sorted(runs, key=lambda run: run.info.start_time or 0)
        if run.info.run_id not in parents
    ]
