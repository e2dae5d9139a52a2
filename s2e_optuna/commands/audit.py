"""``s2e show --audit``: recompute every theta of a study from its trials, and from them alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from s2e_optuna.errors import InputError
from s2e_optuna.reporting.view import SETTINGS_ATTR

if TYPE_CHECKING:
    from optuna import Study

    from s2e_optuna import S2ESampler


@dataclass(frozen=True)
class Audit:
    """What a recomputation found.

    Attributes
    ----------
    commits
        Updates of theta in the study.
    checked
        How many of them were recomputed.
    problems
        What does not agree, a sentence each.
    unchecked
        What could not be recomputed, and so may be right or wrong; a sentence each.
    """

    commits: int
    checked: int
    problems: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether everything that was recomputed agrees."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "commits": self.commits,
            "checked": self.checked,
            "clean": self.clean,
            "problems": list(self.problems),
            "unchecked": list(self.unchecked),
        }


def audit_study(study: Study) -> Audit:
    """Recompute every committed theta of a study from its stored trials.

    Raises
    ------
    InputError
        If no `S2ESampler` has touched the study, so that there is no theta.
    """
    from s2e_optuna.sampler.ledger import Ledger

    ledger = Ledger()
    ledger.update(study.get_trials(deepcopy=False))
    if not ledger.any_tag:
        raise InputError(
            f"study {study.study_name!r} has no theta to recompute: no S2E search made it."
        )
    counts = ledger.commit_counts()
    total = sum(counts.values())
    space = ledger.space or {}
    samplers = [s for s in _candidates(study) if s.signature(space) in counts]
    checked = sum(counts[sampler.signature(space)] for sampler in samplers)
    problems = [problem for sampler in samplers for problem in sampler.audit(study)]
    unchecked = []
    if checked < total:
        # The tags name space and options by their hashes alone.
        unchecked.append(
            f"{total - checked} of {total} updates were not recomputed: the sampler had options "
            "that the study does not tell, or its trials another search space then."
        )
    return Audit(total, checked, tuple(problems), tuple(unchecked))


def _candidates(study: Study) -> list[S2ESampler]:
    """Return samplers that may have made the study: its settings' own, else the usual ones."""
    from s2e_optuna import S2ESampler

    settings = study.user_attrs.get(SETTINGS_ATTR)
    if isinstance(settings, dict) and settings.get("sampler") == "s2e":
        return [S2ESampler(**settings.get("sampler_options", {}))]
    return [S2ESampler(), S2ESampler.paper()]


def print_audit(target: Console, found: Audit) -> None:
    """Print what an audit found."""
    if found.problems:
        said = f"{len(found.problems)} things are wrong."
    elif found.commits and not found.checked:
        said = "nothing could be recomputed."
    else:
        said = f"{found.checked} of {found.commits} updates of theta recomputed: all agree."
    target.print(Text.assemble(("Audit: ", "bold"), said))
    for line in (*found.problems, *found.unchecked):
        target.print(f"  {line}", markup=False, soft_wrap=True)
