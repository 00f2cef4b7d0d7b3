"""metric_push: numbers of an admin's own, in a file and at a Pushgateway."""

from __future__ import annotations

from http.server import HTTPServer
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent.host import Host, ModuleFailed
from opsplay.agent.spec import validate
from opsplay.modules.health import metric_push
from tests.modules.harness import StubAgent
from tests.unit.test_metrics import gateway  # noqa: F401


def push(check: bool = False, **params: Any) -> dict[str, Any]:
    host = Host(StubAgent())
    host.begin(1, {"check": check, "diff": True})
    result: dict[str, Any] = host.finish(metric_push.run(host, validate(metric_push.PARAMS, params)))
    return result


def test_a_value_that_is_not_given_stays(tmp_path: Path) -> None:
    common = {"name": "job", "labels": {"of": "shop"}, "metrics_dir": str(tmp_path / "new")}
    good = {**common, "values": {"success": 1, "last": 12.5}, "about": {"success": "Whether it worked"}}
    preview = push(check=True, **good)
    assert preview["changed"] and not (tmp_path / "new").exists()
    assert push(**good)["diff"] == preview["diff"]
    assert push(**good)["changed"] is False
    assert push(**common, values={"success": 0})["changed"]
    (path,) = (tmp_path / "new").iterdir()
    assert path.name == "job_shop.prom" and path.stat().st_mode & 0o777 == 0o644
    lines = [line for line in path.read_text().splitlines() if line[0] != "#"]
    assert lines == ['job_last{of="shop"} 12.500', 'job_success{of="shop"} 0']


def test_a_pushgateway_gets_them_too(gateway: HTTPServer) -> None:  # noqa: F811
    url = f"http://127.0.0.1:{gateway.server_port}"
    assert push(check=True, name="job", values={"n": 1}, pushgateway=url)["changed"] and not gateway.got  # type: ignore[attr-defined]
    assert push(name="job", values={"n": 1}, pushgateway=url)["changed"]
    ((_, body),) = gateway.got  # type: ignore[attr-defined]
    assert "job_n 1\n" in body


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"name": "job", "values": {"n": 1}}, "give metrics_dir or pushgateway"),
        ({"name": "my job", "values": {"n": 1}, "metrics_dir": "/x"}, "'my job' cannot be part of a metric's name"),
        ({"name": "job", "values": {"1n": 1}, "metrics_dir": "/x"}, "'1n' cannot be part"),
        ({"name": "job", "values": {"n": 1}, "labels": {"a-b": "c"}, "metrics_dir": "/x"}, "'a-b' cannot be part"),
    ],
)
def test_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ModuleFailed, match=said):
        push(**params)


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job.prom").write_text("no metrics at all\n")
    with pytest.raises(ModuleFailed, match="cannot be read as metrics"):
        push(name="job", values={"n": 1}, metrics_dir=str(tmp_path))
