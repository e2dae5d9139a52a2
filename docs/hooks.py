"""What `mkdocs build` makes: formulas, and pages of what lies elsewhere in the repository.

Results, the notebook and the changes are not written down twice. Links to them in the sources lead
to where they are, and here to their pages.
"""

from __future__ import annotations

import base64
import html
import os
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "studies" / "results"
DOCS = ROOT / "docs"
NOTEBOOK = DOCS / "first_ten_minutes.ipynb"

_MATH = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.*?)\\[)\]]\s*</\1>', re.DOTALL)
_TARGET = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)]*)?\)")
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
    """Turn links to files of the repository into links to their pages."""
    if not page.file.abs_src_path or not Path(page.file.abs_src_path).is_relative_to(DOCS):
        return markdown  # a page that was made
    folder = Path(page.file.abs_src_path).parent

    def page_of(match: re.Match[str]) -> str:
        target = (folder / match[1]).resolve()
        if target == NOTEBOOK:
            place = DOCS / f"{NOTEBOOK.stem}.md"
        elif target == ROOT / "CHANGELOG.md":
            place = DOCS / "changes.md"
        elif target.is_relative_to(RESULTS):
            place = DOCS / "results" / target.relative_to(RESULTS)
        else:
            return match[0]
        return f"]({Path(os.path.relpath(place, folder)).as_posix()}{match[2] or ''})"

    return _TARGET.sub(page_of, markdown)


def on_page_content(content: str, **_: Any) -> str:
    """Turn formulas into MathML, which browsers draw by themselves."""

    def draw(match: re.Match[str]) -> str:
        display = "block" if match[1] == "div" else "inline"
        return str(convert(html.unescape(match[2]).strip(), display=display))

    return _MATH.sub(draw, content)


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
