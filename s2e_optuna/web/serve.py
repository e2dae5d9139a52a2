"""optuna-dashboard on a study's storage, on this machine only unless told otherwise."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from s2e_optuna.errors import InputError
from s2e_optuna.listening import listen
from s2e_optuna.storages.urls import artifact_folder
from s2e_optuna.stored_names import CONFIG_ATTR
from s2e_optuna.web.remembered import Remembered
from s2e_optuna.web.shown import FROM, as_shown

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def serve(
    storage: BaseStorage,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    artifacts: Path | None = None,
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the dashboard until interrupted.

    Parameters
    ----------
    storage
        An opened storage. Of large studies only some learning curves are shown
        (`s2e_optuna.web.shown`), and what their finished trials look like is remembered
        (`s2e_optuna.web.remembered`).
    host, port
        Where to listen; port 0 takes a free one.
    artifacts
        Folder with the pictures and curves of the trials.
    on_ready
        Called with the dashboard's address once it listens.

    Raises
    ------
    InputError
        If nothing can listen there.
    """
    from optuna.artifacts import FileSystemArtifactStore
    from optuna_dashboard import wsgi

    store = None if artifacts is None else FileSystemArtifactStore(str(artifacts))
    app = Remembered(wsgi(as_shown(storage), artifact_store=store))

    def ready(address: str) -> None:
        on_ready(address)
        threading.Thread(
            target=_prepare_newest, args=(app, storage), name="s2e-prepare", daemon=True
        ).start()

    listen(app, host=host, port=port, on_ready=ready)


def find_artifacts(storage: BaseStorage, url: str, given: Path | None = None) -> Path | None:
    """Return the folder of a storage's artifacts; None if there is none on this machine.

    It is the given one, or that of the newest study that has stored one, or the default for the
    storage's URL. InputError if the given one does not exist.

    Parameters
    ----------
    storage
        Holds the studies.
    url
        Its URL.
    given
        The folder that somebody has named.
    """
    if given is not None:
        if not given.is_dir():
            raise InputError(f"there is no artifact folder {given}: check --artifacts.")
        return given
    stored = [study.user_attrs.get(CONFIG_ATTR) for study in reversed(storage.get_all_studies())]
    folders = [
        Path(attr["artifacts"])
        for attr in stored
        if isinstance(attr, dict) and attr.get("artifacts")
    ]
    return next((path for path in (*folders, artifact_folder(url)) if path.is_dir()), None)


def _prepare_newest(app: Remembered, storage: BaseStorage) -> None:
    """Make the first answer of the newest study while its reader still opens a browser."""
    studies = [study._study_id for study in storage.get_all_studies()]
    if studies and storage.get_n_trials(max(studies)) > FROM:
        app.prepare(max(studies))
