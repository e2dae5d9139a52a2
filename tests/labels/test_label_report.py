import json

import numpy as np
from drawn_labels import drawn, even

from s2e_optuna.labels import CleanPart, LabelReport, assess_labels


def test_a_report_is_stored_and_read_again():
    data = drawn(300, even(0.3, 3))
    clean = drawn(60, np.eye(3), seed=1)
    quality = assess_labels(
        data.labels, data.pred_probs, CleanPart(clean.true, clean.pred_probs), draws=20
    )
    report = LabelReport.of(quality, ["a", "b", "c"], 2, True)
    again = LabelReport.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again.to_dict() == report.to_dict()
    assert again.classes == ("a", "b", "c") and again.contradictions == 2
    assert abs(again.noise_rate - quality.noise.overall) < 1e-4
    assert again.transition_matrix[0][0] == round(float(quality.noise.matrix[0, 0]), 4)


def test_what_has_no_number_is_none():
    quality = assess_labels([0, 0, 1], np.eye(3)[[0, 0, 1]], draws=2)
    report = LabelReport.of(quality, ["a", "b", "c"], 0, False)
    assert report.by_class[2] is None and report.by_class_interval[2] == (None, None)
    assert report.expected_precision is None
