"""What ``--help`` says of every command: its options, their defaults and texts, in help.txt.

The file holds what the commands declare; another test that each of them prints it. So neither the
order of the options nor what a new version of typer draws around them is a change.
"""

import re

import pytest
from command_line import run
from golden_files import HOW_TO, golden_text
from typer.main import get_command

from s2e_optuna.cli import app

S2E = get_command(app)
COMMANDS = {"s2e": S2E} | {f"s2e {name}": command for name, command in S2E.commands.items()}


def declared(command, parameter) -> str:
    """Describe an option in two lines: its name, what it takes and its default; its text."""
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        names = [parameter.metavar]
    elif parameter.metavar:
        names.append(parameter.metavar)
    panel = getattr(parameter, "rich_help_panel", None)
    facts = {
        number_kind(command, parameter): True,
        f"({panel})": panel,
        "required": parameter.required,
        "repeated": parameter.multiple,
        f"${parameter.envvar}": parameter.envvar,
        f"= {parameter.default}": has_default(parameter),
    }
    first = [*names, *(fact for fact, is_so in facts.items() if is_so and fact)]
    return f"{' '.join(first)}\n    {parameter.help}"


def has_default(parameter) -> bool:
    return parameter.default is not None and parameter.default is not False


def number_kind(command, parameter) -> str:
    """Say which numbers an option takes, by giving it one."""
    if not parameter.metavar or parameter.multiple or parameter.param_type_name == "argument":
        return ""
    context = command.make_context("s2e", [parameter.opts[0], "1"], resilient_parsing=True)
    value = context.params[parameter.name]
    return f"<{type(value).__name__}>" if isinstance(value, int | float) else ""


def described(name: str) -> str:
    """Describe a command, its options sorted by name."""
    command = COMMANDS[name]
    own = [p for p in command.params if "completion" not in p.name]
    options = sorted(declared(command, parameter) for parameter in own)
    return "\n".join([f"==== {name}", command.help.strip(), *options, command.epilog or ""]) + "\n"


def everything() -> str:
    return "\n".join(map(described, COMMANDS))


def test_no_command_has_come_or_gone():
    assert re.findall("^==== (.*)", golden_text("help.txt", everything), re.M) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_defaults_and_texts(name):
    golden = golden_text("help.txt", everything)
    wanted = golden.partition(f"==== {name}\n")[2].partition("\n==== ")[0]
    found = described(name).partition("\n")[2]
    assert found.splitlines() == wanted.rstrip("\n").splitlines(), f"--help has changed{HOW_TO}"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_prints_all_of_it(name):
    printed = run(f"{name.removeprefix('s2e').strip()} --help", COLUMNS="200").output
    shown = squeezed(printed)
    for parameter in COMMANDS[name].params:
        assert parameter.hidden or squeezed(parameter.help) in shown
        if has_default(parameter):
            assert squeezed(f"[default: {shown_default(parameter)}]") in shown
    assert squeezed(COMMANDS[name].epilog or "") in shown


def shown_default(parameter):
    """Return what stands for a default; of a switch with two names, the one that is on."""
    if getattr(parameter, "secondary_opts", None):
        return parameter.opts[0].removeprefix("--") if parameter.default else None
    return parameter.default


def squeezed(text: str) -> str:
    return re.sub(r"[\s│]+", "", text)
