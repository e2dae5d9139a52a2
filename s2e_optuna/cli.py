"""The command line: ``s2e search | worker | show | train | …`` (long: a function a command).

Commands import what they need when they run, so that ``s2e --help`` is quick. Results go to
standard output, progress and errors to standard error. Exit codes: 0; 1 if something is broken
or a training failed; 2 for input that cannot be used and places that cannot be written, with one
sentence that says why; 130 after Ctrl-C. Errors that nobody expected keep their traceback.
"""

from __future__ import annotations

import functools
import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from s2e_optuna import __version__
from s2e_optuna.commands import options as opt
from s2e_optuna.commands.locations import (
    require_existing,
    studies_folder,
    study_scripts,
)
from s2e_optuna.commands.requests import (
    CheckedData,
    JudgedData,
    ListedData,
    PredictRequest,
    TrainRequest,
)
from s2e_optuna.commands.running import (
    fail,
    open_existing,
    print_json,
    sentences,
    silence_optuna,
    tolerate_narrow_encodings,
    with_workers_early,
)
from s2e_optuna.commands.takes import takes
from s2e_optuna.search.config import SearchConfig
from s2e_optuna.storages.urls import default_storage
from s2e_optuna.writable import check_folder, own_folder

app = typer.Typer(
    name="s2e",
    no_args_is_help=True,
    # Rich tracebacks show local variables, and those hold storage passwords.
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Search how much of a noisily labelled data set to trust.\n\n"
    "In every mini-batch a network keeps only the R(t) share of samples with the\n"
    "smallest loss. s2e search finds the R(t) that suits your data, and trains a\n"
    "model with it.",
    epilog="Example: s2e search digits --noise pair --noise-rate 0.45",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"s2e {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    tolerate_narrow_encodings()
    try:
        Path.cwd()
    except FileNotFoundError:
        fail("the current folder has been removed: change to one that is there.")


@app.command(epilog="Example: s2e search mnist --noise pair --noise-rate 0.45 --workers 2")
@sentences("Interrupted. The same command goes on where this one stopped.", SearchConfig)
@with_workers_early
@takes(SearchConfig)
def search(
    config: SearchConfig,
    save_labels: opt.SaveLabels = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Search R(t) for a data set and train a model with it.

    Ends with a comparison of the schedule it found with plain training and with
    Co-teaching. The same command goes on where an interrupted search stopped.
    """
    from s2e_optuna.commands.search import print_search, run_search
    from s2e_optuna.reporting.progress import ProgressDisplay
    from s2e_optuna.reporting.terminal import console

    silence_optuna()
    result, files = run_search(config, ProgressDisplay(quiet=quiet), save_labels)
    if as_json:
        names = {name: str(path) for name, path in files.items()}
        print_json({**result.to_dict(), "files": names})
    else:
        print_search(console(), result, files)


@app.command(epilog="Example: s2e worker --storage grpc://head:13000 --study digits --stack 4")
@sentences("Interrupted. Running trials have been handed back.")
def worker(
    study: opt.JoinedStudy,
    storage: opt.Storage = None,
    stack: opt.Stack = 1,
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    artifacts: opt.Artifacts = None,
    quiet: opt.Quiet = False,
) -> None:
    """Join a search from this or another machine.

    Trains trials until the study has as many as the search asked for. Ctrl-C
    hands running trials back.
    """
    from s2e_optuna.reporting.progress import ProgressDisplay
    from s2e_optuna.search.worker import run_worker, search_job

    silence_optuna()
    url = require_existing(storage or default_storage())
    with ProgressDisplay(quiet=quiet) as display:
        done = run_worker(
            url,
            study,
            stack=stack,
            device=device,
            threads=threads,
            notify=display.worker,
            make_job=functools.partial(search_job, artifacts=artifacts),
        )
        display.note(f"This worker completed {done} trials.")


@app.command(epilog="Example: s2e stop --storage sqlite:///s2e.db --study digits")
@sentences()
def stop(study: opt.JoinedStudy, storage: opt.Storage = None) -> None:
    """End a running search now, with its results.

    It has as many trials as have finished: its workers hand back what they
    train, and s2e search goes on with the results.
    """
    from s2e_optuna.commands.stop import stop_search

    opened = open_existing(storage or default_storage(), prepare=True)
    typer.echo(stop_search(opened, study))


@app.command(epilog="Example: s2e show --storage sqlite:///s2e.db --study digits --png r.png")
@sentences()
def show(
    storage: opt.Storage = None,
    study: opt.ShownStudy = None,
    trial: opt.ShownTrial = None,
    top: opt.Top = 10,
    png: opt.Picture = None,
    audit: opt.Audit = False,
    as_json: opt.Json = False,
) -> None:
    """Show a study: its best trials, the best R(t), theta by generation.

    Without --study, lists the studies of a storage that holds several. With --audit,
    recomputes what it can of every theta from the stored trials; exit code 1 if one does
    not agree, or if none could be recomputed.
    """
    agrees = True
    from s2e_optuna.commands import audit as auditing
    from s2e_optuna.commands import show as printing
    from s2e_optuna.reporting import view
    from s2e_optuna.reporting.plots import check_picture_path
    from s2e_optuna.reporting.terminal import console
    from s2e_optuna.storages import mask_password

    url = storage or default_storage()
    masked = mask_password(url)
    if png is not None:
        check_picture_path(png)
    opened = open_existing(url)
    if study is None:
        names = view.study_names(opened)
        if len(names) != 1:
            if as_json:
                print_json({"storage": masked, "studies": names})
            elif names:
                printing.print_studies(console(), opened)
            else:
                fail(f"the storage {masked} holds no study yet.")
            return
        study = names[0]
    found = view.read_study(opened, study)
    audited = auditing.audit_study(found.study) if audit else None
    agrees = audited is None or audited.agrees
    written = [] if png is None else printing.save_study_pictures(found, png, trial_number=trial)
    if as_json:
        content = printing.study_dict(found, storage=masked, trial_number=trial, top=top)
        content["files"] = [str(path) for path in written]
        print_json(content if audited is None else {**content, "audit": audited.to_dict()})
    else:
        target = console()
        printing.print_study(target, found, trial_number=trial, top=top)
        for path in written:
            target.print(f"Wrote {path}", markup=False, soft_wrap=True)
        if audited is not None:
            target.print()
            auditing.print_audit(target, audited)
    if not agrees:
        raise typer.Exit(1)


@app.command(
    epilog="Example: s2e train mnist --schedule schedule.json --out model", help=opt.TRAIN_HELP
)
@sentences(config=TrainRequest)
@takes(TrainRequest)
def train(
    request: TrainRequest,
    save_labels: opt.SaveLabels = None,
    out: opt.TrainOut = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Train with one method, over several seeds."""
    from s2e_optuna.commands import training, training_output
    from s2e_optuna.reporting.progress import ProgressDisplay
    from s2e_optuna.reporting.terminal import console

    if out is not None:
        check_folder(out)
    training.check_labels_file(save_labels)
    with ProgressDisplay(quiet=quiet) as display:
        outcome = training.run_training(request, display)
    written = []
    if out is not None:
        with own_folder(out):
            written = training_output.save_outcome(outcome, out)
    if save_labels is not None:
        written.append(training_output.save_drawn_labels(outcome, save_labels))
    if as_json:
        print_json(training_output.outcome_dict(outcome, written))
    else:
        training_output.print_outcome(console(), outcome, written)
    if not outcome.complete:
        raise typer.Exit(1)


@app.command(epilog="Example: s2e predict s2e-out/images new/ --out predictions.csv")
@sentences(config=PredictRequest)
@takes(PredictRequest)
def predict(request: PredictRequest, quiet: opt.Quiet = False) -> None:
    """Predict the classes of new samples with a trained model.

    Prints CSV, or writes a file: id, predicted class and its probability. The
    model brings everything that was fitted: size, scale, names of the classes.
    """
    from s2e_optuna.commands import predict as prediction
    from s2e_optuna.reporting.progress import ProgressDisplay

    with ProgressDisplay(quiet=quiet) as display:
        model, found = prediction.run_prediction(request, display)
    prediction.write_predictions(model, found, request.out, probabilities=request.probabilities)
    if request.out is not None:
        typer.echo(prediction.written_words(model, found, request.out))


@app.command(epilog="Example: s2e suspects s2e-out/digits --given 3 --out threes.csv")
@sentences(config=JudgedData)
@takes(JudgedData)
def suspects(
    data: JudgedData,
    model: opt.ModelFile = None,
    given: opt.GivenClasses = None,
    predicted: opt.PredictedClasses = None,
    top: opt.TopSuspects = 20,
    out: opt.SuspectsOut = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """List the labels that are probably wrong.

    Of a finished search or training (its folder), or of any data set by the
    predictions of a trained model. Options about data are for the latter.
    """
    from s2e_optuna.commands import suspects as view
    from s2e_optuna.reporting.progress import ProgressDisplay
    from s2e_optuna.reporting.terminal import console

    view.check_csv_path(out)
    if model is None:
        found = view.read_list(Path(str(data.data)))
    else:
        with ProgressDisplay(quiet=quiet) as display:
            found = view.judge(model, data, display)
    found = view.choose(found, given or (), predicted or ())
    if out is not None:
        view.write_listed(found, out)
    if as_json:
        files = [] if out is None else [str(out)]
        print_json({**view.list_dict(found, top=top), "files": files})
    else:
        view.print_list(console(), found, top=top)
        if out is not None:
            typer.echo(f"Wrote {out}")
        if (command := view.next_command(data, model, out)) is not None:
            typer.echo(f"\nLook at them, and correct them: {command}")


@app.command(epilog="Example: s2e check images --validation noisy -n 20")
@sentences("Interrupted. The same command goes on where this one stopped.", CheckedData)
@takes(CheckedData)
def check(
    data: CheckedData,
    samples: opt.SamplesToCheck = 20,
    to: opt.AnswersFile = None,
    listed: opt.DrawnList = None,
    page: opt.InBrowser = False,
    port: opt.Port = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Check a few labels yourself: a minute's work in place of a clean part.

    Draws samples at random from the part that the search with the same options
    would validate on, and asks whether their labels are right. Each answer is on
    disk at once; the same command goes on where it stopped.
    """
    from s2e_optuna.commands import check as checking
    from s2e_optuna.reporting.progress import ProgressDisplay
    from s2e_optuna.review.answers import AnswerFile
    from s2e_optuna.review.drawn import draw, write_drawn

    path = to or checking.answers_path(data)
    with ProgressDisplay(quiet=quiet) as display:
        loaded = data.of_images().load(display.reading)
        display.data(loaded)
    cards = draw(loaded, samples, data.seed)
    if listed is not None:
        write_drawn(cards, listed)
        typer.echo(f"Wrote {listed}")
        return
    with AnswerFile(path) as answers:
        checking.check_same_data(loaded, answers)
        command = checking.search_command(data, path)
        if page:
            checking.ask_on_page(cards, loaded, answers, command, port)
        else:
            checking.ask(cards, loaded, answers)
        typer.echo(f"\n{checking.outcome(cards, answers, loaded)}")
        if any(answers.labels.values()):
            typer.echo(f"Wrote {path}. Search with these labels:")
            typer.echo(f"  {command}")


@app.command(epilog="Example: s2e review s2e-out/digits")
@sentences(config=ListedData)
@takes(ListedData)
def review(data: ListedData, source: opt.ReviewedList, port: opt.Port = 0) -> None:
    """Look at labels that are probably wrong, and decide, in the browser.

    A page of this machine alone, until Ctrl-C. Each decision is on disk at once;
    the same command goes on where it stopped. s2e apply makes labels of them.
    """
    from s2e_optuna.commands.review import run_review

    for sentence in run_review(source, data, port):
        typer.echo(sentence)


@app.command(epilog="Example: s2e apply s2e-out/digits --posterior 0.9")
@sentences(config=ListedData)
@takes(ListedData)
def apply(
    data: ListedData,
    source: opt.ReviewedList,
    to: opt.LabelsFile = None,
    posterior: opt.TakenAbove = None,
    keep_unclear: opt.KeepUnclear = False,
    copy: opt.CopyOfData = None,
    as_json: opt.Json = False,
) -> None:
    """Turn what was decided in a review into labels to search with.

    Writes labels.csv, which --labels takes: a column says who decided about each
    label (given, person, posterior); samples that nobody could tell have none.
    """
    from s2e_optuna.commands.apply import apply_decisions

    found = apply_decisions(
        source,
        to=to,
        posterior_above=posterior,
        keep_unclear=keep_unclear,
        copy=copy,
        data=data,
    )
    if as_json:
        print_json(found.to_dict())
        return
    for sentence in found.sentences:
        typer.echo(sentence)
    for path in found.files.values():
        typer.echo(f"Wrote {path}")
    if found.command is not None:
        typer.echo("Begin again with these labels:")
        typer.echo(f"  {found.command}")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example: s2e bench bench_search digits-sym50 --seeds 5",
)
@sentences()
def bench(
    context: typer.Context,
    name: opt.Benchmark = None,
) -> None:
    """Run a table, a figure or a benchmark of the folder studies.

    Further options are handed to it.
    """
    folder = studies_folder()
    if folder is None:
        fail("there is no folder studies here: run this where you cloned s2e_optuna.")
    scripts = study_scripts(folder)
    if name is None:
        widest = max(map(len, scripts))
        for script, summary in scripts.items():
            typer.echo(f"{script:{widest}}  {summary}".rstrip())
        return
    if name not in scripts:
        fail(f"there is no study {name!r} in {folder}: choose one of {', '.join(scripts)}.")
    command = [sys.executable, "-m", f"{folder.name}.{name}", *context.args]
    code = subprocess.run(command, cwd=folder.parent, check=False).returncode
    # A process that a signal ended has a negative code; the shell's convention is 128 + signal.
    raise typer.Exit(code if code >= 0 else 128 - code)


@app.command(epilog="Example: s2e dashboard --storage sqlite:///s2e.db --port 8080")
@sentences()
def dashboard(
    storage: opt.Storage = None,
    artifacts: opt.Artifacts = None,
    host: opt.Host = "127.0.0.1",
    port: opt.Port = 8080,
) -> None:
    """Look at studies in the browser, with optuna-dashboard.

    Listens on this machine only, unless --host says otherwise. There is no login:
    whoever can reach it can change and delete your studies.
    """
    from s2e_optuna.listening import is_loopback
    from s2e_optuna.storages import mask_password
    from s2e_optuna.web.refresher import publish_in_background
    from s2e_optuna.web.serve import find_artifacts, serve

    url = storage or default_storage()
    opened = open_existing(url, prepare=True)

    folder = find_artifacts(opened, url, artifacts)

    def announce(address: str) -> None:
        typer.echo(f"Dashboard of {mask_password(url)}: {address} (Ctrl-C stops it)", err=True)
        if not is_loopback(host):
            typer.echo(
                f"Warning: {host} is not this machine alone. Whoever can reach it can "
                "change and delete your studies.",
                err=True,
            )
        if folder is None:
            typer.echo(
                "No artifact folder is here: trials have no pictures. If your search made "
                "one elsewhere, name it with --artifacts.",
                err=True,
            )
        publish_in_background(opened)

    serve(opened, host=host, port=port, artifacts=folder, on_ready=announce)


@app.command(epilog="Example: s2e proxy --storage postgresql+psycopg://… --host 0.0.0.0")
@sentences()
def proxy(
    storage: opt.Storage = None,
    host: opt.Host = "127.0.0.1",
    port: opt.ProxyPort = 13000,
) -> None:
    """Stand between a database and very many workers (grpc://HOST:PORT).

    Workers of all machines share its few connections and its cache. Listens on
    this machine only, unless --host says otherwise. There is no login: whoever
    can reach it can change and delete your studies.
    """
    from s2e_optuna.listening import is_loopback
    from s2e_optuna.storages import mask_password
    from s2e_optuna.storages.proxy import run_proxy

    silence_optuna()
    url = storage or default_storage()

    def announce(bound: int) -> None:
        typer.echo(f"Proxy of {mask_password(url)}: grpc://{host}:{bound}", err=True)
        if not is_loopback(host):
            typer.echo(
                f"Warning: {host} is not this machine alone. Whoever can reach it can "
                "change and delete your studies.",
                err=True,
            )

    run_proxy(url, host=host, port=port, on_ready=announce)


@app.command(epilog="Example: s2e doctor --storage sqlite:///s2e.db")
@sentences()
def doctor(
    storage: opt.Storage = None, bench: opt.MeasureSpeed = False, as_json: opt.Json = False
) -> None:
    """Check the installation, the devices and, with --storage, a storage.

    Exit code 1 if something that is needed is broken; it says what to do.
    """
    from s2e_optuna.commands import doctor as checks
    from s2e_optuna.reporting.terminal import console

    found = checks.examine(storage)
    if bench:
        found += checks.measure()
    if as_json:
        print_json(checks.to_dict(found))
    else:
        checks.print_checks(console(), found)
    if not checks.is_healthy(found):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    # Read when torch is loaded. By default its threads wait for each other by spinning, which on
    # a busy machine made an epoch of the digits take a hundred times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    finally:
        # The process ends. Python would look through all that torch is made of for what else can
        # be thrown away, several times: half a second.
        gc.freeze()


if __name__ == "__main__":
    main()
