"""Options of the command line: names, help texts, completion in the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from s2e_optuna.reporting.completion import benchmarks, one_of, studies

# Names are repeated here, because the modules that know them import torch; a test compares them.
SAMPLERS = ("s2e", "tpe", "random", "cmaes", "gp", "qmc")
SPACES = ("s2e", "coteaching", "single", "rbf", "mlp")
DATA_SETS = ("digits", "mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100")
METHODS = {
    "standard": "plain cross-entropy on everything",
    "decoupling": "two networks train where they disagree (Malach, 2017)",
    "f_correction": "corrects the loss by estimated mistakes (Patrini, 2017)",
    "mentornet": "one network, its own smallest losses (Jiang, 2018)",
    "coteaching": "two networks, each other's smallest losses (Han, 2018)",
    "coteaching_plus": "Co-teaching where the two disagree (Yu, 2019)",
    "reweight": "weighs samples by their use for clean ones (Ren, 2018)",
    "comining": "Co-teaching, weighted by both losses (Wang, 2019)",
}
TRAIN_HELP = "\n".join(
    [
        "Train with one method, over several seeds.",
        "",
        "Prints test and validation accuracy and label precision over the last epochs,",
        "mean and standard deviation, and draws the learning curves. Methods:",
        "",
        *(f"[bold]{name:15}[/bold]  {summary}" for name, summary in METHODS.items()),
        "",
        "mentornet, coteaching, coteaching_plus and comining keep a share R(t) of a",
        "batch: give --schedule, --keep-rate, or --noise-rate for Co-teaching's own.",
    ]
)
NETWORKS = ("auto", "mlp", "cnn1", "cnn2", "cnn3", "resnet18", "resnet50", "densenet121")
EXECUTIONS = ("auto", "folded", "unfold", "vmap", "loop")
OPTIMIZERS = ("adam", "sgd", "rmsprop")
PRECISIONS = ("float32", "bfloat16")
AUGMENTATIONS = ("none", "crop_flip")
NOISES = ("symmetric", "pair", "instance")

DATA_PANEL = "Data"
TRAINING_PANEL = "Training"
SEARCH_PANEL = "Search"
WORKERS_PANEL = "Workers and storage"
OUTPUT_PANEL = "Output"


Data = Annotated[
    str,
    typer.Argument(
        help="digits, mnist, fashion_mnist, kmnist, cifar10, cifar100; an .npz file with the "
        "arrays x_train, y_train and, if there are, x_val, y_val, x_test, y_test; or a folder of "
        "images, train/CLASS/* and, if there are, val and test.",
        autocompletion=one_of(DATA_SETS),
        metavar="DATA",
    ),
]
Noise = Annotated[
    str | None,
    typer.Option(
        help="Put wrong labels on the training part: symmetric, pair, instance, or a file with a "
        "transition matrix (.csv, .txt, .npy).",
        autocompletion=one_of(NOISES),
        rich_help_panel=DATA_PANEL,
        metavar="KIND",
    ),
]
NoiseRate = Annotated[
    float | None,
    typer.Option(help="Share of wrong labels.", rich_help_panel=DATA_PANEL, metavar="SHARE"),
]
TrainSize = Annotated[
    int | None,
    typer.Option(
        help="Use only that many training samples.", rich_help_panel=DATA_PANEL, metavar="N"
    ),
]
Validation = Annotated[
    str,
    typer.Option(
        help="What schedules are compared on. clean: the validation part or, without one, half of "
        "the test part; their labels must be right. noisy: a part of the training data. auto: "
        "clean if there is such a part.",
        autocompletion=one_of(("auto", "clean", "noisy")),
        rich_help_panel=DATA_PANEL,
        metavar="PART",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="Take the training labels from this table (.csv, .tsv, also .gz) or from a file that "
        "--save-labels wrote. Samples that it does not list are left out.",
        rich_help_panel=DATA_PANEL,
        metavar="FILE",
    ),
]
PathColumn = Annotated[
    str | None,
    typer.Option(
        help="Its column with paths or ids; default: path, id, file, filename or image; without "
        "one the order tells.",
        rich_help_panel=DATA_PANEL,
        metavar="NAME",
    ),
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        help="Its column with labels; default: label, given, given_label or class.",
        rich_help_panel=DATA_PANEL,
        metavar="NAME",
    ),
]
CleanColumn = Annotated[
    str | None,
    typer.Option(
        help="Its column with the true labels, for reports only; default: clean, if it exists.",
        rich_help_panel=DATA_PANEL,
        metavar="NAME",
    ),
]
SaveLabels = Annotated[
    Path | None,
    typer.Option(
        help="Save the labels that are trained on (.csv, .csv.gz or .npz).",
        rich_help_panel=DATA_PANEL,
        metavar="FILE",
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Resize the images of a folder to N x N.",
        rich_help_panel=DATA_PANEL,
        metavar="N",
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        help="Folder for downloads and decoded images; default: the user's cache.",
        rich_help_panel=DATA_PANEL,
        metavar="FOLDER",
    ),
]
Network = Annotated[
    str,
    typer.Option(
        help="auto picks by input size; package.module:function is your own; an unknown name "
        "lists all.",
        autocompletion=one_of(NETWORKS),
        rich_help_panel=TRAINING_PANEL,
        metavar="NAME",
    ),
]
Execution = Annotated[
    str,
    typer.Option(
        help="How the networks of a stack are run: folded, unfold, vmap or loop; auto takes what "
        "was fastest when measured (s2e doctor --bench).",
        autocompletion=one_of(EXECUTIONS),
        rich_help_panel=TRAINING_PANEL,
        metavar="NAME",
    ),
]
Optimizer = Annotated[
    str,
    typer.Option(
        help="adam, sgd or rmsprop, each with the paper's learning rates.",
        autocompletion=one_of(OPTIMIZERS),
        rich_help_panel=TRAINING_PANEL,
        metavar="NAME",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="float32, or bfloat16 for products and convolutions: faster, other rankings of "
        "samples.",
        autocompletion=one_of(PRECISIONS),
        rich_help_panel=TRAINING_PANEL,
        metavar="NAME",
    ),
]
Augment = Annotated[
    str,
    typer.Option(
        help="Random changes to the images of training batches: none, or crop_flip (shifts by an "
        "eighth of the sides and horizontal flips).",
        autocompletion=one_of(AUGMENTATIONS),
        rich_help_panel=TRAINING_PANEL,
        metavar="NAME",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        help="Samples a step; default: 128, less where there are few samples.",
        rich_help_panel=TRAINING_PANEL,
        metavar="N",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda or cuda:N.",
        autocompletion=one_of(("auto", "cpu", "cuda")),
        rich_help_panel=TRAINING_PANEL,
        metavar="NAME",
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:N; several with commas: workers are spread over them.",
        autocompletion=one_of(("auto", "cpu", "cuda")),
        rich_help_panel=TRAINING_PANEL,
        metavar="NAMES",
    ),
]
SearchedMethod = Annotated[
    str,
    typer.Option(
        help="Method whose R(t) is searched: mentornet, coteaching, coteaching_plus, comining.",
        autocompletion=one_of(("mentornet", "coteaching", "coteaching_plus", "comining")),
        rich_help_panel=TRAINING_PANEL,
        metavar="NAME",
    ),
]
TrainedMethod = Annotated[
    str | None,
    typer.Option(
        help="One of the methods above; default: coteaching. Options follow the name: "
        "decoupling:warm_up=10.",
        autocompletion=one_of(tuple(METHODS)),
        rich_help_panel=TRAINING_PANEL,
        metavar="NAME",
    ),
]
KeepRate = Annotated[
    float | None,
    typer.Option(
        help="Share of a batch to learn from in the end, for data whose noise rate is not known: "
        "falls from 1 to this share in ten epochs.",
        rich_help_panel=TRAINING_PANEL,
        metavar="SHARE",
    ),
]
ScheduleFile = Annotated[
    Path | None,
    typer.Option(
        help="Schedule to train with, as s2e search writes it.",
        metavar="FILE",
        rich_help_panel=TRAINING_PANEL,
    ),
]
SearchEpochs = Annotated[
    int, typer.Option(help="Epochs a trial.", rich_help_panel=TRAINING_PANEL, metavar="T")
]
TrainEpochs = Annotated[
    int | None,
    typer.Option(
        help="Default: as many as the schedule has, else 200.",
        rich_help_panel=TRAINING_PANEL,
        metavar="T",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="CPU threads; default: torch's own choice.",
        rich_help_panel=TRAINING_PANEL,
        metavar="N",
    ),
]
Trials = Annotated[
    int,
    typer.Option(help="Finished trials in the study.", rich_help_panel=SEARCH_PANEL, metavar="N"),
]
Sampler = Annotated[
    str,
    typer.Option(
        help="s2e, tpe, random, cmaes, gp or qmc.",
        autocompletion=one_of(SAMPLERS),
        rich_help_panel=SEARCH_PANEL,
        metavar="NAME",
    ),
]
Space = Annotated[
    str,
    typer.Option(
        help="Search space: s2e, coteaching, single, rbf or mlp.",
        autocompletion=one_of(SPACES),
        rich_help_panel=SEARCH_PANEL,
        metavar="NAME",
    ),
]
FinalSeeds = Annotated[
    int,
    typer.Option(
        min=0,
        help="Seeds of the final comparison; 0 leaves it out.",
        rich_help_panel=SEARCH_PANEL,
        metavar="N",
    ),
]
TrainFolds = Annotated[
    int,
    typer.Option(
        help="Folds of a cross-validation for the list of suspects, as many trainings more; 0 "
        "leaves it out.",
        metavar="N",
    ),
]
Folds = Annotated[
    int,
    typer.Option(
        help="Folds of the cross-validation for the list of suspects; 0 leaves it out.",
        rich_help_panel=SEARCH_PANEL,
        metavar="N",
    ),
]
Seeds = Annotated[int, typer.Option(help="Train with that many seeds.", metavar="N")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", metavar="N")]
Storage = Annotated[
    str | None,
    typer.Option(
        envvar="S2E_STORAGE",
        help="sqlite:///file.db, postgresql+psycopg://…, journal:///file.log or "
        "grpc://host:port. Default: sqlite:///storage/s2e.db if there is a folder storage, "
        "else sqlite:///s2e.db.",
        rich_help_panel=WORKERS_PANEL,
        metavar="URL",
    ),
]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        envvar="S2E_ARTIFACTS",
        help="Folder for pictures and curves of the trials, which the dashboard shows; default: "
        "artifacts beside the storage's file, or storage/artifacts.",
        rich_help_panel=WORKERS_PANEL,
        metavar="FOLDER",
    ),
]
Workers = Annotated[
    int, typer.Option(help="Local processes.", rich_help_panel=WORKERS_PANEL, metavar="N")
]
Stack = Annotated[
    int,
    typer.Option(
        help="Trials that a worker trains at once.", rich_help_panel=WORKERS_PANEL, metavar="P"
    ),
]
CheckpointMinutes = Annotated[
    float,
    typer.Option(
        help="Keep long trainings so often, so that a killed one goes on; 0: never.",
        rich_help_panel=WORKERS_PANEL,
        metavar="MINUTES",
    ),
]
Launcher = Annotated[
    str,
    typer.Option(
        help="Where workers run: local processes, or tasks of a ray cluster (RAY_ADDRESS).",
        autocompletion=one_of(("local", "ray")),
        rich_help_panel=WORKERS_PANEL,
        metavar="NAME",
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        help="For ray: GPUs of a worker; fractions share one.",
        rich_help_panel=WORKERS_PANEL,
        metavar="N",
    ),
]
NewStudy = Annotated[
    str | None,
    typer.Option(
        help="Name of the study; default: made of data and noise.",
        autocompletion=studies,
        rich_help_panel=WORKERS_PANEL,
        metavar="NAME",
    ),
]
JoinedStudy = Annotated[
    str,
    typer.Option(
        help="A study that s2e search has made.",
        autocompletion=studies,
        rich_help_panel=WORKERS_PANEL,
        metavar="NAME",
    ),
]
ShownStudy = Annotated[
    str | None,
    typer.Option(
        help="Not needed if there is only one.",
        autocompletion=studies,
        rich_help_panel=WORKERS_PANEL,
        metavar="NAME",
    ),
]
ShownTrial = Annotated[
    int | None, typer.Option(help="Show this trial instead of the best.", metavar="N")
]
Top = Annotated[int, typer.Option(min=1, help="Number of trials in the table.", metavar="N")]
SuspectSource = Annotated[
    str,
    typer.Argument(
        help="Folder that s2e search or s2e train has written, its suspects.csv, or, with "
        "--model, a data set.",
        metavar="FOLDER",
    ),
]
ModelFile = Annotated[
    Path | None,
    typer.Option(
        help="Judge the data set FOLDER by this model (model.safetensors).", metavar="FILE"
    ),
]
GivenClasses = Annotated[
    list[str] | None,
    typer.Option(help="Only samples labelled so; may be repeated.", metavar="CLASS"),
]
PredictedClasses = Annotated[
    list[str] | None,
    typer.Option(help="Only samples predicted to be this; may be repeated.", metavar="CLASS"),
]
TopSuspects = Annotated[int, typer.Option(min=1, help="Samples in the table.", metavar="N")]
SuspectsOut = Annotated[
    Path | None,
    typer.Option(
        help="Write the suspicious ones among them to this file (.csv).",
        rich_help_panel=OUTPUT_PANEL,
        metavar="FILE",
    ),
]
Host = Annotated[str, typer.Option(help="Address to listen on.", metavar="ADDRESS")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", metavar="N")]
ProxyPort = Annotated[
    int, typer.Option(help="Port to listen on; 0 takes a free one.", metavar="N")
]
Benchmark = Annotated[
    str | None,
    typer.Argument(
        help="Name of a study; without it they are listed.",
        autocompletion=benchmarks,
        metavar="NAME",
    ),
]
SearchOut = Annotated[
    Path | None,
    typer.Option(
        help="Folder for schedule, model, pictures and suspicious labels; default: s2e-out/ "
        "and the study's name.",
        rich_help_panel=OUTPUT_PANEL,
        metavar="FOLDER",
    ),
]
TrainOut = Annotated[
    Path | None,
    typer.Option(
        help="Folder for the model, its learning curves and suspicious labels.",
        metavar="FOLDER",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
Picture = Annotated[
    Path | None,
    typer.Option(
        help="Also draw R(t) into this file (.png, .svg or .pdf), and beside it the best value "
        "so far and the generations.",
        rich_help_panel=OUTPUT_PANEL,
        metavar="FILE",
    ),
]
Audit = Annotated[
    bool,
    typer.Option(
        "--audit",
        help="Recompute every theta from the stored trials; exit code 1 if one does not agree. "
        "Those of other search spaces, or of a sampler whose options the study does not tell, are "
        "named as unchecked.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
MeasureSpeed = Annotated[
    bool,
    typer.Option(
        "--bench",
        help="Also measure each way to run stacked networks on this machine: half a minute.",
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object and nothing else.", rich_help_panel=OUTPUT_PANEL
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress.", rich_help_panel=OUTPUT_PANEL)
]
