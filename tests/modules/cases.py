"""How a module's case is proven on a lab host: previewed, done, done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opsplay.lab import LabHost
from tests.lab.remote_module import Call, run_calls

# Where modules write. apt renews its cache of the lists whenever it looks, so that is no trace.
WATCHED = "/etc /home /srv /usr/sbin /usr/local /var/spool /var/lib/dpkg /var/lib/apt/extended_states /var/backups"


@dataclass(frozen=True)
class Case:
    """State before, parameters, outcome.

    `before` and `look` are shell scripts: `look` prints what the module is to change, `after` is what it then prints.
    `result` is a part of the return values, `fails` of the message. `repeats` marks what changes at each run.
    """

    name: str
    params: Mapping[str, Any]
    before: str = "true"
    look: str = "true"
    after: str | None = None
    changed: bool = True
    result: Mapping[str, Any] = field(default_factory=dict)
    fails: str = ""
    warns: str = ""
    repeats: bool = False
    exact: bool = True
    module: str = ""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def prove(host: LabHost, module: str, case: Case) -> dict[str, Any]:
    """Preview, which touches nothing; then do it; then do it again, which changes nothing. The real result."""
    module = case.module or module
    host.run(case.before, timeout=120)
    seen = state(host, case)
    preview = one(host, Call(module, case.params, check=True))
    assert state(host, case) == seen, "the preview has changed something"
    if case.fails:
        for result in (preview, one(host, Call(module, case.params))):
            assert result.get("failed") and case.fails in result["msg"], result
        assert state(host, case) == seen
        return preview
    real, again = run_calls(host, [Call(module, case.params)] * 2)
    for result in (preview, real):
        assert not result.get("failed"), result["msg"]
        assert result["changed"] is case.changed, result
    if case.exact:
        assert preview.get("diff") == real.get("diff"), "the preview has foretold something else"
    assert {key: real.get(key) for key in case.result} == dict(case.result)
    assert case.warns in "\n".join(real.get("warnings", ())), real
    if case.after is not None:
        assert state(host, case) == case.after.strip()
    assert again["changed"] is case.repeats, again
    return real


def state(host: LabHost, case: Case) -> str:
    """What the module is to change, as it is now."""
    return host.run(case.look, check=False).stdout.strip()


def one(host: LabHost, call: Call) -> dict[str, Any]:
    """Run one call; a preview may leave no trace in the folders that modules write to."""
    if not call.check:
        return run_calls(host, [call])[0]
    host.run("touch /run/mark; sleep 0.01")
    result = run_calls(host, [call])[0]
    traces = host.run(f"find {WATCHED} -cnewer /run/mark 2>/dev/null || true").stdout
    assert traces == "", "the preview has left traces"
    return result


def previews(host: LabHost, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Preview tasks one after the other, each seeing what those before it would have left."""
    return run_calls(host, [Call(module, params, check=True) for module, params in calls])
