"""Journals and proxies for many workers: what `open_storage` returns where there is no database.

What is added to `optuna.storages.JournalStorage` and `optuna.storages.GrpcStorageProxy`, and why:

- Owners: trials that one of our workers starts name that worker from birth.
- Leases: these storages have no heartbeats, so that the trials of a dead worker would run for
  ever. Workers write a count into one of their trials instead (`leases`).
- Journals: an append that a full disk or a kill has cut short is taken back before the next one.
  Otherwise the two lines run into each other, and nobody can read the journal any more. The lock
  is the operating system's, which ends with its owner.
- Proxies: a lost connection is tried again with back-off, so that a restart of the proxy costs no
  trial.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import BaseJournalFileLock, get_lock_file
from optuna.trial import FrozenTrial, TrialState

from s2e_optuna.storages.rdb import PATIENCE
from s2e_optuna.storages.rows import OWNER_ATTR

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_BLOCK = 1 << 16

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class LeasedStorage(BaseStorage):
    """A storage whose trials name the worker that runs them, and stay alive by its leases.

    Attributes
    ----------
    owner : str or None
        If set, trials that are started through this object carry it as the user attribute
        ``worker``.
    lease : int or None
        Seconds between two signs of life of a worker; None if nobody looks after dead workers.
    lost_at : float or None
        When a connection was last found lost, `time.monotonic` seconds.
    """

    owner: str | None = None
    lease: int | None = None
    lost_at: float | None = None

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `optuna.storages.BaseStorage`."""
        if template_trial is None and self.owner is not None:
            template_trial = optuna.create_trial(
                state=TrialState.RUNNING, user_attrs={OWNER_ATTR: self.owner}
            )
            template_trial.datetime_start = datetime.now()
        return super().create_new_trial(study_id, template_trial)  # type: ignore[safe-super]

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `optuna.storages.BaseStorage`."""
        changed = super().set_trial_state_values(  # type: ignore[safe-super]
            trial_id, state, values
        )
        if changed and state == TrialState.RUNNING and self.owner is not None:
            self.set_trial_user_attr(trial_id, OWNER_ATTR, self.owner)
        return changed


class SharedJournal(LeasedStorage, JournalStorage):
    """A journal file for many processes; see the text at the top of this file."""


class _SystemLock(BaseJournalFileLock):
    """A lock of the operating system, which a killed process gives up by itself.

    Optuna's is a file: when its owner is killed, all others wait for half a minute. Where the
    file system knows no such locks, Optuna's is used.
    """

    def __init__(self, path: str) -> None:
        self._path = f"{path}.flock"
        self._fallback = JournalFileSymlinkLock(path)
        self._held: threading.local = threading.local()

    def acquire(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError:
                os.close(descriptor)
                raise
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            self._held.descriptor = None
            return self._fallback.acquire()
        self._held.descriptor = descriptor
        return True

    def release(self) -> None:
        if self._held.descriptor is None:
            self._fallback.release()
        else:
            os.close(self._held.descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        return _SystemLock, (self._path.removesuffix(".flock"),)


class SharedJournalFile(JournalFileBackend):
    """A journal file that never keeps a part of a line, and is locked by the system."""

    def __init__(self, path: str) -> None:
        super().__init__(path, _SystemLock(path) if fcntl is not None else None)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, all of them or none."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with get_lock_file(self._lock), open(self._file_path, "r+b", buffering=0) as file:
            end = _end_of_lines(file)
            if file.seek(0, os.SEEK_END) != end:
                _logger.warning("The journal ended in a part of a line, which is taken back.")
                file.truncate(end)
            file.seek(end)
            try:
                _write(file, lines.encode())
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise


def _end_of_lines(file: Any) -> int:
    """Position after the last line that is complete."""
    size = position = file.seek(0, os.SEEK_END)
    while position > 0:
        length = min(position, 1 if position == size else _BLOCK)
        position -= length
        file.seek(position)
        if (found := file.read(length).rfind(b"\n")) >= 0:
            return int(position + found + 1)
    return 0


def _write(file: Any, content: bytes) -> None:
    written = 0
    while written < len(content):  # a disk that gets full takes a part first
        written += file.write(content[written:])


class SharedProxy(LeasedStorage, GrpcStorageProxy):
    """A gRPC proxy for many processes; see the text at the top of this file."""

    def _setup(self) -> None:
        super()._setup()
        patient: Any = _PatientStub(self._stub, self)
        self._stub = patient
        self._cache = type(self._cache)(patient)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `optuna.storages.BaseStorage`."""
        before = self.lost_at
        try:
            return super().set_trial_state_values(trial_id, state, values)
        except UpdateFinishedTrialError:
            # A connection that was lost leaves open whether the first call came through.
            if self.lost_at != before and self.get_trial(trial_id).state == state:
                return True
            raise


class _PatientStub:
    """Calls a proxy again, with back-off, while it cannot be reached."""

    def __init__(self, stub: Any, storage: LeasedStorage) -> None:
        self._stub = stub
        self._storage = storage

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        method = getattr(self._stub, name)
        return lambda request: self._patiently(lambda: method(request))

    def _patiently(self, call: Callable[[], _Result]) -> _Result:
        import grpc

        deadline = time.monotonic() + PATIENCE
        pause = 0.2
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                unreachable = error.code() == grpc.StatusCode.UNAVAILABLE
                if not unreachable or time.monotonic() + pause > deadline:
                    raise
                self._storage.lost_at = time.monotonic()
                _logger.warning("The proxy does not answer; trying again in %.1f s.", pause)
            time.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(2.0 * pause, 5.0)
