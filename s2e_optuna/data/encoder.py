"""What makes numbers of a table's cells, of images, of texts, and fewer of many numbers."""

from __future__ import annotations

from s2e_optuna.data.pretrained import PretrainedFeatures
from s2e_optuna.data.table_columns import TableColumns
from s2e_optuna.data.text_features import TextFeatures
from s2e_optuna.data.wide_vectors import WideVectors

Encoder = TableColumns | PretrainedFeatures | TextFeatures | WideVectors
