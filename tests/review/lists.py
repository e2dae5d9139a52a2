"""Lists of suspects that tests of reviews make."""

from pathlib import Path

HEADER = "id,given_label,predicted_label,wrong_probability,suspicious"


def write_list(path: Path, n: int = 12, classes: tuple[str, ...] = ("ant", "bee", "cow")) -> Path:
    """Write n samples, the most doubtful first; two thirds of them are listed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = len(classes)
    rows = [
        f"s{i:02},{classes[i % size]},{classes[(i + 1) % size]},{0.95 - 0.9 * i / n:.3f},"
        f"{'yes' if i < 2 * n / 3 else 'no'}"
        for i in range(n)
    ]
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path
