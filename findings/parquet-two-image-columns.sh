#!/usr/bin/env bash
# pyarrow==26.0.1, pandas==3.1.1 (numpy==2.4.6 beneath)
# One would guess: asking a Parquet file for "image.bytes" and "mask.bytes" gives two columns that
#   can be told apart, whichever reader is used.
# What happens: read_table gives two columns with one name, "bytes", and looking one up by name
#   raises; a dictionary made of it holds the masks alone. ParquetFile.read keeps the structs.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
"$work/venv/bin/python" - "$work" <<'PYTHON'
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

path = f"{sys.argv[1]}/pairs.parquet"
table = pa.table(
    {
        "image": [{"bytes": b"picture", "path": "1.png"}],
        "mask": [{"bytes": b"outline", "path": "1-mask.png"}],
    }
)
pq.write_table(table, path)
wanted = ["image.bytes", "mask.bytes"]

read = pq.read_table(path, columns=wanted)
assert read.column_names == ["bytes", "bytes"]
assert read.to_pydict() == {"bytes": [b"outline"]}
try:
    read["bytes"]
except KeyError:
    pass
else:
    raise AssertionError("one of the two columns can be looked up by name")
assert list(pd.read_parquet(path, columns=wanted).columns) == ["bytes", "bytes"]

kept = pq.ParquetFile(path).read(columns=wanted)
assert kept.to_pydict() == {
    "image": [{"bytes": b"picture"}],
    "mask": [{"bytes": b"outline"}],
}
print("held: read_table names the bytes of two image columns alike")
PYTHON
