"""Features with missing values, and sparse ones, as the dense columns that networks take."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.decomposition import TruncatedSVD
from sklearn.impute import SimpleImputer

from s2e_optuna.data.words import count
from s2e_optuna.errors import DataError

MOST_COLUMNS = 256
"""Sparse features of more columns are reduced to so many."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DenseColumns:
    """What is done to features before they are standardised; fitted once, used for all.

    Attributes
    ----------
    imputer
        Replaces missing values by medians and adds a column of 0 and 1 for each column that had
        some; None where none were missing.
    svd
        Reduces sparse features; None where they are dense, or few.
    """

    imputer: SimpleImputer | None = None
    svd: TruncatedSVD | None = None

    @classmethod
    def fit(cls, features: Any) -> DenseColumns:
        """Look at features.

        Parameters
        ----------
        features
            Array [N, D] or images, or a sparse matrix [N, D].

        Raises
        ------
        DataError
            Values of a sparse matrix are missing.
        """
        if issparse(features):
            _check_none_missing(features.data, "sparse X holds")
            size = min(MOST_COLUMNS, features.shape[0])
            if features.shape[1] <= MOST_COLUMNS:
                return cls()
            _logger.info("%d sparse columns reduced to %d", features.shape[1], size)
            svd = TruncatedSVD(size, random_state=0)
            return cls(svd=svd.fit(features))
        if features.ndim != 2 or features.dtype.kind != "f":
            return cls()
        missing = np.isnan(features)
        if not missing.any():
            return cls()
        _logger.info(
            "%s imputed by the medians of %s",
            count(int(missing.sum()), "missing value"),
            count(int(missing.any(axis=0).sum()), "column"),
        )
        imputer = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
        return cls(imputer=imputer.fit(features))

    def apply(self, features: Any) -> NDArray[Any]:
        """Return dense features [N, D']; images and features without gaps as they are.

        Parameters
        ----------
        features
            As `fit` takes them.

        Raises
        ------
        DataError
            Values are missing, and none were where it was fitted.
        """
        found: NDArray[Any]
        if self.svd is not None:
            found = self.svd.transform(features)
            return found
        found = features.toarray() if issparse(features) else features
        if self.imputer is not None:
            return np.asarray(self.imputer.transform(found))
        _check_none_missing(found, "X holds, other than X of fit,")
        return found


def _check_none_missing(values: NDArray[Any], what: str) -> None:
    if values.dtype.kind == "f" and (missing := int(np.isnan(values).sum())):
        raise DataError(
            f"{what} {count(missing, 'missing value')}: fill them in, for example with "
            "sklearn.impute.SimpleImputer"
        )
