"""What `mkdocs build` makes: formulas, the commands' page, the results, the notebook, the changes.

Pages that follow from the code are not written down twice: their text is made here.
"""

from __future__ import annotations

import base64
import html
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "studies" / "results"
NOTEBOOK = ROOT / "docs" / "first_ten_minutes.ipynb"

_MATH = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.DOTALL)
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the pictures they show."""
    made: dict[str, str | bytes] = {"changes.md": (ROOT / "CHANGELOG.md").read_text("utf-8")}
    made |= notebook_page(NOTEBOOK)
    for path in sorted(RESULTS.rglob("*")):
        name = Path("results") / path.relative_to(RESULTS)
        if path.suffix == ".md":
            made[name.as_posix()] = without_dead_links(path)
        elif path.suffix in {".png", ".svg", ".csv", ".json"}:
            files.append(File.generated(config, name.as_posix(), abs_src_path=str(path)))
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in what is made from the code."""
    if page.file.src_uri == "commands.md":
        return markdown.replace("<!-- commands -->", command_reference())
    if page.file.src_uri == "results.md":
        return markdown.replace("<!-- results -->", result_list())
    return markdown


def on_page_content(content: str, **_: Any) -> str:
    """Turn formulas into MathML, which browsers draw by themselves."""

    def draw(match: re.Match[str]) -> str:
        display = "block" if match[1] == "div" else "inline"
        return str(convert(html.unescape(match[2]).strip(), display=display))

    return _MATH.sub(draw, content)


def command_reference() -> str:
    """Describe every command and option, as typer knows them."""
    words = [sys.executable, "-m", "typer", "s2e_optuna.cli", "utils", "docs", "--name", "s2e"]
    text = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    text = html.unescape(text).split("**Commands**:")[1]
    examples = re.sub(
        r"^Examples?: (.*)$", r"**Example**\n\n```console\n$ \1\n```", text, flags=re.MULTILINE
    )
    return examples[examples.index("## ") :]


def result_list() -> str:
    """List the studies that have left results, with the heading of each; the paper's first."""
    found = []
    for readme in RESULTS.glob("*/README.md"):
        heading = re.search(r"^# (.*)$", readme.read_text("utf-8"), re.MULTILINE)
        title = heading[1] if heading else readme.parent.name
        kind, number = re.fullmatch(r"(table|figure)?(\d*).*", readme.parent.name).groups()  # type: ignore[union-attr]
        line = f"- [{title}](results/{readme.parent.name}/README.md)"
        found.append(((not kind, kind or "", int(number or 0), title), line))
    parts = {"The paper's tables and figures": True, "Benchmarks and studies of our own": False}
    lines = []
    for title, of_the_paper in parts.items():
        chosen = [line for key, line in sorted(found) if key[0] is not of_the_paper]
        lines += [f"## {title}", "", *chosen, ""]
    return "\n".join(lines)


def without_dead_links(path: Path) -> str:
    """Return a results page; links to what is no part of the documentation become plain text."""

    def keep(match: re.Match[str]) -> str:
        target = (path.parent / match[2]).resolve()
        inside = target.is_relative_to(RESULTS) and target.is_file()
        return match[0] if "://" in match[2] or inside else match[1]

    return _LINK.sub(keep, path.read_text("utf-8"))


def notebook_page(path: Path) -> dict[str, str | bytes]:
    """Convert the notebook with its stored outputs; return the page and its pictures."""
    from nbconvert import MarkdownExporter

    text, resources = MarkdownExporter().from_filename(str(path))
    pictures = {
        name: base64.b64decode(data) if isinstance(data, str) else data
        for name, data in resources["outputs"].items()
    }
    return {f"{path.stem}.md": text, **pictures}
