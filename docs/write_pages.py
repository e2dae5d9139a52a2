"""Write the parts of pages that follow from the code: all commands, and the list of results.

    python docs/write_pages.py

They stand in the sources, between two comments, so that they can be read there, too. A test says
when they are out of date.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "studies" / "results"
BEGIN, END = "<!-- written by docs/write_pages.py -->\n", "<!-- end -->\n"


def command_reference() -> str:
    """Describe every command and option, as the command line declares them."""
    from typer.main import get_command

    from s2e_optuna.cli import app

    parts = []
    root: Any = get_command(app)
    for name, command in root.commands.items():
        parts += [f"## s2e {name}", command.help.strip()]
        parts.append(re.sub(r"^Examples?: (.*)$", r"Example: `\1`", command.epilog, flags=re.M))
        panels: dict[str, list[str]] = {}
        for parameter in command.params:
            if not parameter.hidden:
                title = getattr(parameter, "rich_help_panel", None) or "Options"
                panels.setdefault(title, []).append(f"- {_option(parameter)}")
        for title, options in panels.items():
            parts += [*([f"**{title}**"] if len(panels) > 1 else []), "\n".join(options)]
    return "\n\n".join(parts) + "\n"


def _option(parameter: Any) -> str:
    """Say of an option what it is called, what it takes, what it does, and its default."""
    names = ["/".join([*parameter.opts, *parameter.secondary_opts]), parameter.metavar or ""]
    if parameter.param_type_name == "argument":
        names = names[1:]
    facts = {
        "Required.": parameter.required,
        "May be repeated.": parameter.multiple and "repeated" not in parameter.help,
        f"Default: `{parameter.default}`.": parameter.default is not None
        and parameter.default is not False,
        f"Environment variable: `{parameter.envvar}`.": parameter.envvar,
    }
    text = re.sub(r"([*<|])", r"\\\1", parameter.help)  # no mark-up
    said = [text, *(words for words, is_so in facts.items() if is_so)]
    return f"`{' '.join(filter(None, names))}`: {' '.join(said)}"


def result_list() -> str:
    """List the studies that have left results, with the heading of each; the paper's first."""
    found = []
    for readme in RESULTS.glob("*/README.md"):
        name = readme.parent.name
        heading = re.search(r"^# (.*)$", readme.read_text("utf-8"), re.MULTILINE)
        paper = re.fullmatch(r"(table|figure)(\d+)", name)
        key = (paper[1], int(paper[2])) if paper else ("", 0)
        title = heading[1] if heading else name
        found.append((*key, title, f"- [{title}](../studies/results/{name}/README.md)"))
    parts = {"The paper's tables and figures": True, "Benchmarks and studies of our own": False}
    lines = []
    for title, of_the_paper in parts.items():
        chosen = [line for kind, *_, line in sorted(found) if bool(kind) is of_the_paper]
        lines += [f"## {title}", "", *chosen, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


MADE: dict[str, Callable[[], str]] = {"commands.md": command_reference, "results.md": result_list}


def with_written_part(page: str, part: str) -> str:
    """Return a page with the text between its two comments replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{part}\n{END}{after}"


def main() -> None:
    """Write the pages anew."""
    for name, make in MADE.items():
        path = DOCS / name
        path.write_text(with_written_part(path.read_text("utf-8"), make()), encoding="utf-8")


if __name__ == "__main__":
    main()
