"""Lookups that read files and ask programs and servers of the control side."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from opsplay.errors import TemplateError
from opsplay.templating.listing import as_list
from opsplay.templating.search import SearchPath, read

Options = Mapping[str, Any]
Reading = Callable[[SearchPath, list[Any], Options], list[Any]]

# The kinds of files among which first_found looks.
FIRST_FOUND = ("files", "templates", "vars", "tasks")
WORD = re.compile(r"""(?:^|\s)(\w+)=('[^']*'|"[^"]*"|\S*)""")


def settings_of(term: Any, options: Options, names: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """A term of the old style, `key name=value`, as its key and all options; what is written in it counts."""
    written = {name: value.strip("'\"") for name, value in WORD.findall(str(term)) if name in names}
    key = WORD.sub(lambda word: "" if word.group(1) in names else word.group(), str(term)).strip()
    return key, {**options, **written}


def files(search: SearchPath, terms: list[Any], options: Options) -> list[Any]:
    texts = [read(search.find(str(term), "files")) for term in terms]
    if options.get("lstrip"):
        texts = [text.lstrip() for text in texts]
    return [text.rstrip() for text in texts] if options.get("rstrip", True) else texts


def environment(search: SearchPath, terms: list[Any], options: Options) -> list[Any]:
    return [os.environ.get(str(term), options.get("default", "")) for term in terms]


def pipe(search: SearchPath, terms: list[Any], options: Options) -> list[Any]:
    found = []
    for term in terms:
        done = subprocess.run(str(term), shell=True, capture_output=True, text=True, cwd=search.base)
        if done.returncode != 0:
            raise TemplateError(f"lookup pipe: '{term}' ended with {done.returncode}: {done.stderr.strip()}")
        found.append(done.stdout.rstrip("\n"))
    return found


def lines(search: SearchPath, terms: list[Any], options: Options) -> list[Any]:
    return [line for text in pipe(search, terms, options) for line in text.splitlines()]


def file_names(search: SearchPath, terms: list[Any], options: Options) -> list[Any]:
    return [path for term in terms for path in search.match(str(term), "files")]


def first_found(search: SearchPath, terms: list[Any], options: Options) -> list[Any]:
    """The first file that exists; a term may be a dictionary of files, paths and skip."""
    skip = bool(options.get("skip"))
    tried: list[str] = []
    entries = [entry for term in terms for entry in as_list(term)] or [dict(options)]
    for entry in entries:
        settings = {**options, **entry} if isinstance(entry, Mapping) else {**options, "files": [entry]}
        skip = skip or bool(settings.get("skip"))
        for name in names_in(settings.get("files"), ","):
            for path in search.candidates(name, names_in(settings.get("paths"), ":,") or FIRST_FOUND):
                if os.path.exists(path):
                    return [path]
            tried.append(name)
    if skip:
        return []
    raise TemplateError(f"first_found: none of these exists: {', '.join(tried)}", hint="skip: true allows that")


def names_in(value: Any, separators: str) -> list[str]:
    if isinstance(value, str):
        return [part.strip() for part in re.split(f"[{separators}]", value) if part.strip()]
    return [str(part) for part in value or ()]


def ini(search: SearchPath, terms: list[Any], options: Options) -> list[Any]:
    """Values of an INI file's section, or of a properties file; keys without a value give nothing."""
    import configparser

    found: list[Any] = []
    for term in terms:
        key, chosen = settings_of(term, options, ("file", "section", "type", "re", "default", "encoding"))
        text = read(search.find(str(chosen.get("file", "ansible.ini")), "files"), chosen.get("encoding", "utf-8"))
        section = str(chosen.get("section", "global"))
        if chosen.get("type") == "properties":
            section, text = "properties", f"[properties]\n{text}"
        interpolation = configparser.BasicInterpolation() if chosen.get("interpolation", True) else None
        bare = bool(chosen.get("allow_no_value") or chosen.get("allow_none"))
        parser = configparser.ConfigParser(interpolation=interpolation, allow_no_value=bare)
        if chosen.get("case_sensitive"):
            parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read_string(text)
            if chosen.get("re"):
                found += [value for name, value in parser.items(section) if re.match(key, name)]
            else:
                found.append(parser.get(section, key))
        except configparser.NoOptionError:
            found.append(chosen.get("default", ""))
        except configparser.Error as problem:
            raise TemplateError(f"ini: {problem}") from problem
    return [value for value in found if value is not None]


def csv_values(search: SearchPath, terms: list[Any], options: Options) -> list[Any]:
    """A column of the first row in which another column (the first one) has a value; nothing without such a row."""
    import csv

    found = []
    for term in terms:
        key, chosen = settings_of(term, options, ("file", "col", "keycol", "delimiter", "default", "encoding"))
        delimiter = str(chosen.get("delimiter", "TAB"))
        path = search.find(str(chosen.get("file", "ansible.csv")), "files")
        text = read(path, chosen.get("encoding", "utf-8"))
        rows = csv.reader(text.splitlines(), delimiter="\t" if delimiter in ("TAB", "\\t") else delimiter)
        column, key_column = int(chosen.get("col", 1)), int(chosen.get("keycol", 0))
        row = next((row for row in rows if len(row) > key_column and row[key_column] == key), None)
        if row is not None and not 0 <= column < len(row):
            raise TemplateError(f"csvfile: there is no column {column} for {key!r} in {path}")
        found.append(chosen.get("default") if row is None else row[column])
    return [value for value in found if value is not None]


def urls(search: SearchPath, terms: list[Any], options: Options) -> list[Any]:
    """What servers answer: line by line, or each as one text."""
    found: list[Any] = []
    for term in terms:
        text = _fetch(str(term), options)
        found += text.splitlines() if options.get("split_lines", True) else [text]
    return found


def _fetch(url: str, options: Options) -> str:
    import base64
    import ssl
    import urllib.request

    if not url.startswith(("http://", "https://", "ftp://")):
        raise TemplateError(f"url: cannot fetch {url!r}", hint="give it http, https or ftp")
    headers = {"User-Agent": str(options.get("http_agent", "opsplay")), **(options.get("headers") or {})}
    if options.get("force"):
        headers["Cache-Control"] = "no-cache"
    if options.get("username"):
        login = f"{options['username']}:{options.get('password') or ''}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    trust = ssl.create_default_context(cafile=options.get("ca_path"))
    if not options.get("validate_certs", True):
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    handlers: list[Any] = [urllib.request.HTTPSHandler(context=trust)]
    if not options.get("use_proxy", True):
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={name: str(value) for name, value in headers.items()})
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=float(options.get("timeout", 10))) as answer:
            return str(answer.read().decode("utf-8", "surrogateescape"))
    except OSError as problem:
        raise TemplateError(f"url: cannot fetch {url}: {problem}") from problem


READINGS: dict[str, Reading] = {
    "file": files,
    "unvault": lambda search, terms, options: files(search, terms, {**options, "rstrip": False}),
    "env": environment,
    "pipe": pipe,
    "lines": lines,
    "fileglob": file_names,
    "first_found": first_found,
    "ini": ini,
    "csvfile": csv_values,
    "url": urls,
}
