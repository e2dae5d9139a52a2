"""What makes numbers of samples that are none: of a table's cells, of images, of texts."""

from __future__ import annotations

from s2e_optuna.data.pretrained import PretrainedFeatures
from s2e_optuna.data.table_columns import TableColumns
from s2e_optuna.data.text_features import TextFeatures

Encoder = TableColumns | PretrainedFeatures | TextFeatures
