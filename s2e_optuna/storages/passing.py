# ruff: noqa: D102 - what each method does is said in `optuna.storages.BaseStorage`
"""A storage in front of another one, by public names of Optuna only."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


class PassingStorage(BaseStorage):
    """Passes every call on.

    Parameters
    ----------
    backend
        The storage behind it.
    """

    def __init__(self, backend: BaseStorage) -> None:
        self._backend = backend

    def _pass_on(self, name: str, *args: Any) -> Any:
        """Call a method of the storage behind this one."""
        return getattr(self._backend, name)(*args)

    # ---------------------------------------------------------------- studies

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        return int(self._pass_on("create_new_study", directions, study_name))

    def delete_study(self, study_id: int) -> None:
        self._pass_on("delete_study", study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._pass_on("set_study_user_attr", study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._pass_on("set_study_system_attr", study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        return int(self._pass_on("get_study_id_from_name", study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        return str(self._pass_on("get_study_name_from_id", study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return list(self._pass_on("get_study_directions", study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return dict(self._pass_on("get_study_user_attrs", study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return dict(self._pass_on("get_study_system_attrs", study_id))

    def get_all_studies(self) -> list[Any]:
        return list(self._pass_on("get_all_studies"))

    # ---------------------------------------------------------------- trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return int(self._pass_on("create_new_trial", study_id, template_trial))

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        args = (trial_id, param_name, param_value_internal, distribution)
        self._pass_on("set_trial_param", *args)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        return bool(self._pass_on("set_trial_state_values", trial_id, state, values))

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._pass_on("set_trial_intermediate_value", trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._pass_on("set_trial_user_attr", trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._pass_on("set_trial_system_attr", trial_id, key, value)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        name = "get_trial_id_from_study_id_trial_number"
        return int(self._pass_on(name, study_id, trial_number))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        trial: FrozenTrial = self._pass_on("get_trial", trial_id)
        return trial

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return list(self._pass_on("get_all_trials", study_id, deepcopy, states))

    def remove_session(self) -> None:
        self._pass_on("remove_session")
