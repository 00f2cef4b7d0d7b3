"""Numbers for Prometheus: a file for node_exporter's textfile collector, and a Pushgateway."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Tuple

from opsplay.agent import files
from opsplay.agent.host import Host
from opsplay.agent.spec import Path, Str

# The parameters of every module that leaves numbers.
METRICS = {
    "metrics_dir": Path(help="A folder of node_exporter's textfile collector: success, last success, size, duration"),
    "pushgateway": Str(help="The URL of a Pushgateway that is sent the same; a failure to do so is only a warning"),
}
PUSH_SECONDS = 10


def report(host: Host, params: Any, prefix: str, labels: Dict[str, str], values: Dict[str, Any]) -> None:
    """Set `prefix_…` metrics. Those of an earlier report that have no new value stay; trouble is a warning.

    `values` are a number and its help by the metric's name without the prefix.
    """
    if host.check:
        return
    if params.metrics_dir:
        path = file_of(host.expand(params.metrics_dir), prefix, labels)
        try:
            merged = dict(known(path), **{"%s_%s" % (prefix, name): value for name, value in values.items()})
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            files.replace(host.temporary, path, [exposition(merged, labels)], 0o644, (-1, -1))
        except (OSError, ValueError) as problem:
            host.warn("the metrics could not be written to %s: %s" % (path, problem))
    if params.pushgateway:
        push(host, params.pushgateway, prefix, labels, values)


def file_of(folder: str, prefix: str, labels: Dict[str, str]) -> str:
    """The file of a report in the folder of the textfile collector."""
    return os.path.join(folder, "%s.prom" % "_".join([prefix] + [file_word(word) for word in labels.values()]))


def exposition(values: Dict[str, Tuple[float, str]], labels: Dict[str, str]) -> bytes:
    """Prometheus' text format."""
    marks = ",".join('%s="%s"' % (name, escaped(value)) for name, value in sorted(labels.items()))
    lines: List[str] = []
    for name, (number, told) in sorted(values.items()):
        lines += ["# HELP %s %s" % (name, told), "# TYPE %s gauge" % name]
        lines.append("%s%s %s" % (name, "{%s}" % marks if marks else "", plain(number)))
    return ("\n".join(lines) + "\n").encode()


def plain(number: float) -> str:
    return str(int(number)) if number == int(number) else "%.3f" % number


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def known(path: str) -> Dict[str, Tuple[float, str]]:
    """What an earlier report has left there. Raises OSError, ValueError."""
    if not os.path.exists(path):
        return {}
    told: Dict[str, str] = {}
    found: Dict[str, Tuple[float, str]] = {}
    for line in files.read_whole(path).decode("utf-8", "replace").splitlines():
        if line.startswith("# HELP "):
            name, _, text = line[7:].partition(" ")
            told[name] = text
        elif line and not line.startswith("#"):
            name = line.partition("{")[0].partition(" ")[0]
            found[name] = (float(line.rpartition(" ")[2]), told.get(name, ""))
    return found


def file_word(text: str) -> str:
    return "".join(char if char.isalnum() or char in "-." else "_" for char in text)


def push(host: Host, url: str, prefix: str, labels: Dict[str, str], values: Dict[str, Any]) -> None:
    """Send to a Pushgateway; what it refuses is a warning.

    POST leaves the group's metrics of other names as they are: the last success outlives a failure.
    """
    from urllib.parse import quote

    from opsplay.agent.web import Options, Unreachable, request

    body = exposition({"%s_%s" % (prefix, name): value for name, value in values.items()}, {})
    group = dict({"instance": os.uname().nodename}, **labels)
    parts = [word for name, value in sorted(group.items()) for word in (name, quote(value, safe=""))]
    address = "/".join([url.rstrip("/"), "metrics", "job", prefix] + parts)
    options, headers = Options({"timeout": PUSH_SECONDS}), {"Content-Type": "text/plain"}
    try:
        with request(options, address, "POST", headers, body) as answer:
            if answer.status >= 300:
                host.warn("the Pushgateway %s refused the metrics: %d %s" % (url, answer.status, answer.reason))
    except (Unreachable, ValueError) as problem:
        host.warn("the metrics did not reach the Pushgateway %s: %s" % (url, problem))
