"""Missing and sparse features become dense columns."""

import logging

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array

from s2e_optuna.data.dense import DenseColumns
from s2e_optuna.errors import DataError


def test_missing_values_become_medians_with_a_column_that_says_so(caplog):
    nan = np.nan
    features = np.array([[1.0, 5.0, nan], [3.0, nan, nan], [8.0, 7.0, nan]])
    with caplog.at_level(logging.INFO):
        columns = DenseColumns.fit(features)
    assert caplog.messages == ["4 missing values imputed by the medians of 2 columns"]
    new = columns.apply(np.array([[nan, nan, 2.0]]))
    assert new.tolist() == [[3.0, 6.0, 2.0, 1.0, 0.0]]


def test_what_has_no_gaps_is_left_alone_and_none_may_come_later():
    images, features = np.zeros((3, 4, 4)), np.ones((3, 2))
    assert DenseColumns.fit(images).apply(images) is images
    columns = DenseColumns.fit(features)
    assert columns.apply(features) is features
    with pytest.raises(DataError, match="X holds, other than X of fit, 1 missing value: fill"):
        columns.apply(np.array([[1.0, np.nan]]))


def test_sparse_features_of_many_columns_are_reduced(caplog):
    few, many = (random_array((300, d), density=0.1, rng=0, format="csr") for d in (20, 400))
    assert (DenseColumns.fit(few).apply(few) == few.toarray()).all()
    with caplog.at_level(logging.INFO):
        columns = DenseColumns.fit(many)
    assert caplog.messages == ["400 sparse columns reduced to 256"]
    assert columns.apply(many[:5]).shape == (5, 256)
    assert np.allclose(columns.apply(many[:5]), columns.apply(many)[:5])
    with pytest.raises(DataError, match="sparse X holds 1 missing value"):
        DenseColumns.fit(csr_matrix([[np.nan, 0.0]]))
