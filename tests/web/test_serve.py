import json
import queue
import socket
import threading
import urllib.request
from pathlib import Path

import optuna
import pytest

from s2e_optuna import open_storage
from s2e_optuna.errors import InputError
from s2e_optuna.listening import is_loopback
from s2e_optuna.stored_names import CONFIG_ATTR
from s2e_optuna.web.serve import find_artifacts, serve


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_dashboard_answers_with_the_studies(study: optuna.Study) -> None:
    address: queue.Queue[str] = queue.Queue()
    threading.Thread(
        target=serve,
        args=(study._storage,),
        kwargs={"port": 0, "on_ready": address.put},
        daemon=True,
    ).start()
    url = address.get(timeout=120)
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(f"{url}api/studies", timeout=120) as answer:
        names = [entry["study_name"] for entry in json.load(answer)["study_summaries"]]
    assert names == ["tiny"]
    with urllib.request.urlopen(url, timeout=120) as answer:
        assert b"<html" in answer.read().lower()


@pytest.mark.parametrize("host", ["127.0.0.1", "no.such.host.invalid"])
def test_an_address_that_cannot_be_had(study: optuna.Study, host: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="--port"):
            serve(study._storage, host=host, port=taken.getsockname()[1])


def test_the_folder_of_artifacts(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    storage = open_storage(url)
    assert find_artifacts(storage, url) is None
    (tmp_path / "artifacts").mkdir()
    assert find_artifacts(storage, url) == tmp_path / "artifacts"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    study = optuna.create_study(storage=storage)
    study.set_user_attr(CONFIG_ATTR, {"artifacts": str(elsewhere)})
    assert find_artifacts(storage, url) == elsewhere
    with pytest.raises(InputError, match="--artifacts"):
        find_artifacts(storage, url, tmp_path / "nowhere")
