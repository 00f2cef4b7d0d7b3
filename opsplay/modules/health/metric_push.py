"""Leave numbers for Prometheus: in a file for node_exporter's textfile collector, or at a Pushgateway.

Metrics of the same name and labels that get no new value stay as they are: a failure that sets success to 0 leaves the
time of the last success.
"""

from __future__ import annotations

from typing import Any, Dict

from opsplay.agent import metrics
from opsplay.agent.host import Host
from opsplay.agent.metrics import METRICS
from opsplay.agent.spec import Dict as Mapping
from opsplay.agent.spec import Float, Name, Params, Str

PARAMS = dict(
    name=Name(required=True, help="What the metrics' names begin with, such as opsplay_restore_drill"),
    values=Mapping(of=Float(), required=True, help="Numbers by the rest of the metric's name, such as success: 1"),
    labels=Mapping(of=Str(), default={}, help="Labels of all of them"),
    about=Mapping(of=Str(), default={}, help="What a number means, by the same names"),
    **METRICS,
)  # fmt: skip
CHECK = "exact"
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")


def run(host: Host, params: Params) -> Dict[str, Any]:
    if not params.metrics_dir and not params.pushgateway:
        host.fail("give metrics_dir or pushgateway: where the numbers go")
    given = params["values"]
    for word in [params.name] + list(given) + list(params.labels):
        if word[:1] not in LETTERS or not set(word) <= LETTERS | set("0123456789"):
            host.fail("%r cannot be part of a metric's name: letters, digits and _ can" % word)
    values = {name: (number, params.about.get(name, "")) for name, number in sorted(given.items())}
    labels = dict(sorted(params.labels.items()))
    if params.metrics_dir:
        folder = host.expand(params.metrics_dir)
        path = metrics.file_of(folder, params.name, labels)
        try:
            merged = metrics.known(path)
        except (OSError, ValueError) as problem:
            host.fail("%s cannot be read as metrics: %s; remove it" % (path, problem))
        merged.update({"%s_%s" % (params.name, name): value for name, value in values.items()})
        host.directory(folder, mode=0o755)
        host.write(path, metrics.exposition(merged, labels), mode=0o644)
    if params.pushgateway:
        host.note("", metrics.exposition(values, labels).decode(), params.pushgateway)
        host.changed = True
        if not host.check:
            metrics.push(host, params.pushgateway, params.name, labels, values)
    return host.outcome()
