"""``s2e show --audit``: recompute every theta of a study from its trials, and from them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.study import StudyDirection
from rich.console import Console
from rich.text import Text

from s2e_optuna.errors import InputError
from s2e_optuna.sampler import S2ESampler
from s2e_optuna.sampler.audit import Audit, audit_trials
from s2e_optuna.sampler.tags import Tag
from s2e_optuna.stored_names import CONFIG_ATTR

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["Audit", "audit_study", "print_audit"]


def audit_study(study: Study) -> Audit:
    """Recompute every committed theta of a study from its stored trials.

    Raises
    ------
    InputError
        If no `S2ESampler` has touched the study, so that there is no theta.
    """
    trials = study.get_trials(deepcopy=False)
    if all(Tag.of(trial) is None for trial in trials):
        raise InputError(
            f"study {study.study_name!r} has no theta to recompute: no S2E search made it."
        )
    sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
    return audit_trials(trials, sign, (sampler.options for sampler in _candidates(study)))


def _candidates(study: Study) -> list[S2ESampler]:
    """Return samplers that may have made a study of an earlier version."""
    settings = study.user_attrs.get(CONFIG_ATTR)
    if isinstance(settings, dict) and settings.get("sampler") == "s2e":
        return [S2ESampler(**settings.get("sampler_options", {}))]
    return [S2ESampler(), S2ESampler.paper()]


def print_audit(target: Console, found: Audit) -> None:
    """Print what an audit found."""
    if found.problems:
        said = f"{len(found.problems)} things are wrong."
    elif not found.commits:
        said = "theta has not been updated yet."
    elif not found.checked:
        said = "nothing could be recomputed."
    else:
        said = f"{found.checked} of {found.commits} updates of theta recomputed: all agree."
    target.print(Text.assemble(("Audit: ", "bold"), said))
    for line in (*found.problems, *found.unchecked):
        target.print(f"  {line}", markup=False, soft_wrap=True)
