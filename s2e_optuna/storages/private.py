"""Private names of Optuna: all that the storages use, and what happens where one does not fit.

===================================  ======================================  ======================
name                                 used for                                without it
===================================  ======================================  ======================
``RDBStorage.engine``                settings before its first connection,   `open_storage` gives
                                     statements of our own                   the stock storage
``BaseHeartbeat`` and its methods    heartbeats of `Study.optimize`          the stock storage
version of the schema (`tables`)     statements of our own                   the stock storage
templates in URLs                    files with braces in their names        they cannot be opened
module ``models``                    worker processes start sooner           they start later
``OptunaStorageProxyService``,       a proxy that says when it listens       Optuna's own proxy
``add_StorageServiceServicer_to_…``
===================================  ======================================  ======================

Nothing else that is private stands in `s2e_optuna.storages`, but for what every sampler needs,
also those of OptunaHub: ``Study._storage``, ``Study._study_id``, ``Trial._trial_id`` and
``FrozenTrial._trial_id``. There is a contract test for each name.
"""

from __future__ import annotations

import importlib
from typing import Any

import sqlalchemy
from optuna.storages import RDBStorage

HEARTBEAT = ("optuna.storages._heartbeat", "BaseHeartbeat")

HEARTBEAT_METHODS = {
    "_get_stale_trial_ids",
    "get_heartbeat_interval",
    "get_heartbeat_stale_trial_callback",
    "record_heartbeat",
}

MAPPED_CLASSES = "optuna.storages._rdb.models"

SERVICER = ("optuna.storages._grpc.servicer", "OptunaStorageProxyService")

ADD_SERVICER = (
    "optuna.storages._grpc.auto_generated.api_pb2_grpc",
    "add_StorageServiceServicer_to_server",
)


class MisfitError(RuntimeError):
    """A private name that this Optuna does not have, or not as it is used here."""


def find(name: tuple[str, str]) -> Any:
    """Return what has a name, a module and one of its members.

    Raises
    ------
    MisfitError
        If it is not there.
    """
    module, member = name
    try:
        return getattr(importlib.import_module(module), member)
    except (ImportError, AttributeError) as error:
        raise MisfitError(f"{module}.{member}") from error


def take_for_heartbeats(kind: type) -> None:
    """Let Optuna take a kind of storage for one with heartbeats.

    Raises
    ------
    MisfitError
        If this Optuna expects other methods of such storages.
    """
    base = find(HEARTBEAT)
    if getattr(base, "__abstractmethods__", None) != HEARTBEAT_METHODS:
        raise MisfitError(".".join(HEARTBEAT))
    base.register(kind)


class ObservedRDBStorage(RDBStorage):
    """Optuna's relational storage, whose engine is seen before its first connection is opened.

    Its constructor makes the engine and uses it at once. By this property listeners are on this
    engine, and on no other.

    Raises
    ------
    MisfitError
        If the engine has another name.
    """

    def __init__(self, url: str, engine_kwargs: dict[str, Any] | None = None, **kw: Any) -> None:
        super().__init__(url, engine_kwargs, **kw)
        _ = self.engine  # it may have been made under another name

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The SQLAlchemy engine."""
        engine = self.__dict__.get("engine")
        if not isinstance(engine, sqlalchemy.Engine):
            raise MisfitError("optuna.storages.RDBStorage.engine")
        return engine

    @engine.setter
    def engine(self, engine: sqlalchemy.Engine) -> None:
        self.__dict__["engine"] = engine
        self._observe(engine)

    def _observe(self, engine: sqlalchemy.Engine) -> None:
        """Do what is to be done with the engine."""


def without_templates(url: str) -> str:
    """Return a URL as Optuna has to be given it: braces in one are its own templates."""
    return url.replace("{", "{{").replace("}", "}}")
