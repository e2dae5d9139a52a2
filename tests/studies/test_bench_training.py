import pytest

from studies import bench_training
from studies.bench_training import Case, measure, page


@pytest.mark.parametrize("network", ["mlp"])
def test_a_case_is_measured_and_written_down(network, monkeypatch):
    monkeypatch.setattr(bench_training, "PEAK_SIDE", {"cpu": 64})
    monkeypatch.setattr(bench_training, "STEPS", {"mlp": 1})
    found = measure(Case(network, 2, 1, "cpu", "float32", 1))
    assert found["ratio"] == found["speed"] / found["reference_speed"]
    # Forward, and backward without the gradient of the images.
    assert found["flops_a_sample"] == 3 * 2 * (784 * 256 + 256 * 10) - 2 * 784 * 256
    assert sum(found["limits"].values()) == pytest.approx(1.0, abs=0.05)
    assert f"| {network} | 2 |" in page([found])
