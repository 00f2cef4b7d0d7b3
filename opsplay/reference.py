"""What is written down of every module from its own declarations: pages for people, stubs for editors.

    python -m opsplay.reference        writes docs/modules and opsplay/host_modules.pyi anew
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Iterator
from pathlib import Path

import opsplay
from opsplay import catalog
from opsplay.agent.spec import Bool, Choice, Dict, Float, Int, List, Mode, Param, Raw, Str

PACKAGE = Path(opsplay.__file__).parent
PAGES = PACKAGE.parent / "docs" / "modules"
STUB = PACKAGE / "host_modules.pyi"

CHECKS = {
    "exact": "exact: a preview predicts just what a run then changes",
    "partial": "partial: a preview says what it cannot know",
    "skipped": "skipped: a preview does not run it, and what depends on its result is undecided",
}


def page(entry: catalog.Entry) -> str:
    """A module's page."""
    lines = [f"# {entry.name}", "", inspect.cleandoc(entry.module.__doc__ or "").strip(), ""]
    lines += [f"Check mode: {CHECKS[entry.module.CHECK]}.", ""]
    shown = [(name, param) for name, param in entry.params.items() if not name.startswith("_")]
    if shown:
        lines += ["| parameter | type | default | meaning |", "|---|---|---|---|"]
        lines += [_row(name, param) for name, param in shown]
        lines.append("")
    if entry.free_form:
        lines += [f"May be written as `{entry.name}: TEXT`.", ""]
    if entry.open_ended:
        lines += ["Any other names are taken too.", ""]
    return "\n".join(lines)


def _row(name: str, param: Param) -> str:
    names = ", ".join(f"`{one}`" for one in (name, *param.aliases))
    default = "**required**" if param.required else "" if param.default is None else f"`{_yaml(param.default)}`"
    cells = (names, param.describe().replace("|", "/"), default, param.help + (" (masked)" if param.secret else ""))
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """A text that stays within its cell of a table."""
    return text.replace("|", "\\|").replace("\r", "\\r").replace("\n", "\\n")


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def index() -> str:
    """The list of all modules by area."""
    areas: dict[str, list[catalog.Entry]] = {}
    for entry in catalog.entries().values():
        words = entry.code.split(".")
        areas.setdefault(words[2] if words[1] == "modules" else "on the control side", []).append(entry)
    lines = ["# Modules", ""]
    for area, entries in sorted(areas.items()):
        lines += [f"## {area}", ""]
        lines += [f"* [{entry.name}]({entry.name}.md): {entry.summary}" for entry in entries]
        lines.append("")
    return "\n".join(lines)


def stub() -> str:
    """The types of `HostModules` for editors and type checkers."""
    lines = [
        "# Made by python -m opsplay.reference from what the modules declare.",
        "from collections.abc import Mapping, Sequence",
        "from typing import Any, Literal",
        "",
        "from opsplay.api import Outcome",
        "",
        "class HostModules:",
        "    def run_module(self, module: str, params: Mapping[str, Any], ignore_errors: bool = ...) -> Outcome: ...",
    ]
    for entry in catalog.entries().values():
        lines += [f"    def {_python(entry.name)}(", "        self,", *_arguments(entry), "    ) -> Outcome:"]
        lines += [f'        """{entry.summary}"""', ""]
    return "\n".join(lines).rstrip() + "\n"


def _arguments(entry: catalog.Entry) -> Iterator[str]:
    params = {name: param for name, param in entry.params.items() if not name.startswith("_")}
    yield "        *,"
    for name, param in sorted(params.items(), key=lambda pair: not pair[1].required):
        kind = annotation(param)
        yield f"        {_python(name)}: {kind}{'' if param.required else ' | None = ...'},"
    yield "        ignore_errors: bool = ...,"
    if entry.open_ended:
        yield "        **values: Any,"


def annotation(param: Param) -> str:
    """A parameter's Python type."""
    if isinstance(param, Choice):
        return f"Literal[{', '.join(repr(choice) for choice in param.choices)}]"
    if isinstance(param, List):
        return f"Sequence[{annotation(param.of)}] | {annotation(param.of)}"
    if isinstance(param, Dict):
        return f"Mapping[str, {annotation(param.of)}]"
    for kind, name in ((Mode, "str | int"), (Bool, "bool"), (Int, "int"), (Float, "float"), (Str, "str"), (Raw, "Any")):
        if isinstance(param, kind):
            return name
    return "Any"


def _python(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def files() -> dict[Path, str]:
    """Every file with its text."""
    found = {PAGES / f"{entry.name}.md": page(entry) for entry in catalog.entries().values()}
    return {**found, PAGES / "README.md": index(), STUB: stub()}


def main() -> None:
    """Write them all, and remove pages of modules that are no more."""
    PAGES.mkdir(parents=True, exist_ok=True)
    wanted = files()
    for old in set(PAGES.glob("*.md")) - set(wanted):
        old.unlink()
    for path, text in wanted.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
