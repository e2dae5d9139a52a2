"""Labels that a person looks at: which are drawn, what was decided, and what that says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s2e_optuna.lazy import lazy_names

if TYPE_CHECKING:
    from s2e_optuna.review.notebook import Reviewing, review

__all__ = ["Reviewing", "review"]

__getattr__, __dir__ = lazy_names(
    __name__, {"s2e_optuna.review.notebook": ("Reviewing", "review")}
)
