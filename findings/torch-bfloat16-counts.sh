#!/usr/bin/env bash
# torch==2.13.0, numpy==2.4.6
# One would guess: adding a thousand ones in bfloat16 stops at 256 with every way to add by index,
#   or reaches a thousand with every way, as sum and cumsum do.
# What happens, on the CPU: index_add, index_put and histc stop at 256, scatter_add, scatter_reduce
#   and bincount reach a thousand.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import torch

torch.set_num_threads(1)
ones = torch.ones(1000, dtype=torch.bfloat16)
zero = torch.zeros(1, dtype=torch.bfloat16)
where = torch.zeros(1000, dtype=torch.long)
counts = {
    "sum": ones.sum(),
    "cumsum": ones.cumsum(0)[-1],
    "scatter_add": zero.scatter_add(0, where, ones),
    "scatter_reduce": zero.scatter_reduce(0, where, ones, "sum"),
    "bincount": torch.bincount(where, ones),
    "index_add": zero.index_add(0, where, ones),
    "index_put": zero.index_put((where,), ones, accumulate=True),
    "histc": ones.histc(1, 0, 2),
    "segment_reduce": torch.segment_reduce(ones, "sum", lengths=torch.tensor([1000])),
}
stopped = {name for name, count in counts.items() if count.item() == 256}
assert stopped == {"index_add", "index_put", "histc", "segment_reduce"}, counts
assert all(count.item() == 1000 for name, count in counts.items() if name not in stopped)
print("held: in bfloat16 index_add stops at 256, scatter_add does not")
PYTHON
