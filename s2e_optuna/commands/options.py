"""Options of commands that no configuration has, and the help of ``s2e train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from s2e_optuna.commands.completion import benchmarks, one_of, studies
from s2e_optuna.commands.requests import METHODS
from s2e_optuna.commands.takes import one_option
from s2e_optuna.options import DATA_PANEL, OUTPUT_PANEL, TRAINING_PANEL, WORKERS_PANEL
from s2e_optuna.search.config import SearchConfig

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

Storage = one_option(SearchConfig, "storage")
Artifacts = one_option(SearchConfig, "artifacts")
Stack = one_option(SearchConfig, "stack")
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda or cuda:N.",
        autocompletion=one_of(("auto", "cpu", "cuda")),
        rich_help_panel=TRAINING_PANEL,
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
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="CPU threads; default: torch's own choice.",
        rich_help_panel=TRAINING_PANEL,
        metavar="N",
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
SamplesToCheck = Annotated[
    int, typer.Option("-n", "--samples", min=1, help="Samples to check.", metavar="N")
]
AnswersFile = Annotated[
    Path | None,
    typer.Option(
        help="File for the answers (.csv), which s2e search takes as --checked; default: s2e-out/ "
        "checked- and the name of the data.",
        rich_help_panel=OUTPUT_PANEL,
        metavar="FILE",
    ),
]
InBrowser = Annotated[
    bool,
    typer.Option(
        "--page",
        help="Ask in the browser, with the pictures, in place of the terminal: on a page of this "
        "machine alone, until Ctrl-C.",
    ),
]
DrawnList = Annotated[
    Path | None,
    typer.Option(
        "--list",
        help="Ask nothing: write the samples with their given labels to this file (.csv).",
        rich_help_panel=OUTPUT_PANEL,
        metavar="FILE",
    ),
]
ReviewedList = Annotated[
    Path,
    typer.Argument(
        help="Folder that s2e search or s2e train has written, its suspects.csv, or another "
        "table with the columns id and given_label.",
        metavar="FOLDER",
    ),
]
LabelsFile = Annotated[
    Path | None,
    typer.Option(
        help="File for the labels (.csv); default: labels.csv beside the list.",
        rich_help_panel=OUTPUT_PANEL,
        metavar="FILE",
    ),
]
TakenAbove = Annotated[
    float | None,
    typer.Option(
        "--posterior",
        min=0.0,
        max=1.0,
        help="Take the proposal, too, where nobody has decided and a listed label is wrong with "
        "more than this probability.",
        metavar="SHARE",
    ),
]
KeepUnclear = Annotated[
    bool,
    typer.Option(
        "--keep-unclear", help="Keep samples that you could not tell, with their given label."
    ),
]
CopyOfData = Annotated[
    Path | None,
    typer.Option(
        help="Also make a folder of links to the images, train/CLASS/*, or of a table a new one, "
        "with these labels.",
        rich_help_panel=OUTPUT_PANEL,
        metavar="PATH",
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
        help="Recompute every theta from the stored trials; exit code 1 if one does not agree, or "
        "if none could be recomputed. What the study does not tell (options in one of an earlier "
        "version, features of your own) is named.",
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
