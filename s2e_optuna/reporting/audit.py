"""``s2e show --audit``: recompute every theta of a study from its trials, and from them alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from s2e_optuna.reporting.errors import InputError
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
    """

    commits: int
    checked: int
    problems: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether everything was recomputed and agrees."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "commits": self.commits,
            "checked": self.checked,
            "clean": self.clean,
            "problems": list(self.problems),
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
    if not total:
        return Audit(0, 0, ())
    space = ledger.space or {}
    sampler = next((s for s in _candidates(study) if s.signature(space) in counts), None)
    if sampler is None:
        return Audit(
            total,
            0,
            (
                "No theta could be recomputed: the sampler had other options, or the last "
                "trials another search space.",
            ),
        )
    checked = counts[sampler.signature(space)]
    problems = sampler.audit(study)
    if checked < total:
        problems.append(
            f"{total - checked} of {total} updates belong to another search space or other "
            "options of the sampler and were not recomputed."
        )
    return Audit(total, checked, tuple(problems))


def _candidates(study: Study) -> list[S2ESampler]:
    """Return samplers that may have made the study: its settings' own, else the usual ones."""
    from s2e_optuna import S2ESampler

    settings = study.user_attrs.get(SETTINGS_ATTR)
    if isinstance(settings, dict) and settings.get("sampler") == "s2e":
        return [S2ESampler(**settings.get("sampler_options", {}))]
    return [S2ESampler(), S2ESampler.paper()]


def print_audit(target: Console, found: Audit) -> None:
    """Print what an audit found."""
    if found.clean:
        said = f"{found.checked} of {found.commits} updates of theta recomputed: all agree."
        target.print(Text.assemble(("Audit: ", "bold"), said))
        return
    target.print(Text.assemble(("Audit: ", "bold"), f"{len(found.problems)} things are wrong."))
    for problem in found.problems:
        target.print(f"  {problem}", markup=False, soft_wrap=True)
