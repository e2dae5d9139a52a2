"""What `open_storage` returns for a proxy: one whose restart costs no trial.

A lost connection is tried again with back-off. Proxies have no heartbeats: workers write leases
(`leases`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from s2e_optuna.storages.leased import LeasedStorage
from s2e_optuna.storages.passing import PassingStorage
from s2e_optuna.storages.retry import retry

_logger = logging.getLogger(__name__)


class SharedProxy(LeasedStorage, PassingStorage):
    """A gRPC proxy for many processes.

    Parameters
    ----------
    backend
        An `optuna.storages.GrpcStorageProxy`.
    """

    def close(self) -> None:
        """Close the connection."""
        self._backend.close()  # type: ignore[attr-defined]  # gRPC may not be installed

    def _pass_on(self, name: str, *args: Any, **kw: Any) -> Any:
        return retry(lambda: PassingStorage._pass_on(self, name, *args, **kw), self._again)

    def _again(self, error: Exception, pause: float) -> bool:
        import grpc

        if not isinstance(error, grpc.RpcError) or error.code() != grpc.StatusCode.UNAVAILABLE:
            return False
        self.lost_at = time.monotonic()
        _logger.warning("The proxy does not answer; trying again in %.1f s.", pause)
        return True

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
