"""How long `opsplay check` takes for a tree of realistic files, beside two yardsticks in the same run.

    python benchmarks/check.py [--files 500] [--runs 3] [--ansible ansible-playbook]

The yardsticks: only parsing the same YAML with PyYAML's CSafeLoader, and one `ansible-playbook --syntax-check` of the
plays (of some, scaled to all, where there are many). Figures are medians of the runs; the start of programs counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

FILES_OF_ROLE = 7
# A play for so many roles, each play with this many of them.
ROLES_PER_PLAY = 4
# So many plays at most are given to ansible-playbook.
SYNTAX_CHECKED = 40

TASKS = """\
- name: Packages of {role}
  ansible.builtin.apt:
    name: "{{{{ {role}_packages }}}}"
    state: present
    update_cache: true
    cache_valid_time: 3600
  when: ansible_facts['os_family'] == 'Debian'
  tags: [{role}, packages]

- name: Folders of {role}
  file:
    path: "{{{{ item.path }}}}"
    state: directory
    owner: "{{{{ item.owner | default('root') }}}}"
    mode: "{{{{ item.mode | default('0755') }}}}"
  loop: "{{{{ {role}_folders }}}}"
  loop_control:
    label: "{{{{ item.path }}}}"

- name: Configuration of {role}
  template:
    src: {role}.conf.j2
    dest: "/etc/{role}/{role}.conf"
    owner: root
    group: root
    mode: "0644"
  notify: Restart {role}
  tags: {role}

- name: Settings of {role}
  lineinfile:
    path: /etc/default/{role}
    regexp: "^{{{{ item.key }}}}="
    line: "{{{{ item.key }}}}={{{{ item.value }}}}"
  loop: "{{{{ {role}_settings | dict2items }}}}"
  notify: Restart {role}

- name: Version of {role}
  command: "{role} --version"
  register: {role}_version
  changed_when: false
  failed_when: {role}_version.rc not in [0, 2]

- import_tasks: service.yml
"""
SERVICE = """\
- name: Is {role} there
  stat:
    path: "/usr/sbin/{role}"
  register: {role}_binary

- name: The service
  when: {role}_binary.stat.exists | bool
  block:
    - name: Service of {role} runs
      service:
        name: "{{{{ {role}_service }}}}"
        state: "{{{{ 'started' if {role}_enabled else 'stopped' }}}}"
        enabled: "{{{{ {role}_enabled }}}}"
      become: true
  rescue:
    - name: Say why not
      debug:
        msg: "{{{{ ansible_failed_result.msg | default('unknown') }}}} on {{{{ inventory_hostname }}}}"
"""
HANDLERS = """\
- name: Restart {role}
  service:
    name: "{{{{ {role}_service }}}}"
    state: restarted
"""
DEFAULTS = """\
{role}_packages: [{role}, {role}-common]
{role}_service: {role}
{role}_enabled: true
{role}_port: 8080
{role}_folders:
  - {{path: "/srv/{role}", owner: www-data}}
  - {{path: "/var/log/{role}", mode: "0750"}}
{role}_settings:
  PORT: "{{{{ {role}_port }}}}"
  HOME: "/srv/{role}"
"""
VARS = """\
{role}_log_level: "{{{{ 'debug' if debugging | default(false) else 'info' }}}}"
{role}_upstreams: "{{{{ groups['all'] | map('extract', hostvars, 'ansible_host') | list }}}}"
"""
META = "galaxy_info:\n  author: somebody\n  description: {role}\ndependencies: []\n"
TEMPLATE = """\
# {{{{ ansible_managed }}}}
listen {{{{ {role}_port }}}};
log {{{{ {role}_log_level }}}};
{{% for upstream in {role}_upstreams %}}
server {{{{ upstream }}}}:{{{{ {role}_port }}}}{{% if loop.first %}} weight=2{{% endif %}};
{{% endfor %}}
"""
PLAY = """\
- name: Play {number}
  hosts: all
  become: true
  vars:
    site: "site{number}.example"
  roles:
{roles}
  post_tasks:
    - name: The site answers
      uri:
        url: "https://{{{{ site }}}}/health"
        status_code: 200
      register: answer
      until: answer is succeeded
      retries: 5
      delay: 2
"""


def make_tree(folder: Path, files: int) -> list[Path]:
    """About so many files of roles and plays; returns the plays."""
    roles = round(files / (FILES_OF_ROLE + 0.5))
    for number in range(roles):
        role = f"role{number}"
        for name, text in {
            "tasks/main.yml": TASKS, "tasks/service.yml": SERVICE, "handlers/main.yml": HANDLERS,
            "defaults/main.yml": DEFAULTS, "vars/main.yml": VARS, "meta/main.yml": META,
            f"templates/{role}.conf.j2": TEMPLATE,
        }.items():  # fmt: skip
            write(folder / "roles" / role / name, text.format(role=role))
    plays = [folder / f"play{number}.yml" for number in range(files - roles * FILES_OF_ROLE)]
    for number, path in enumerate(plays):
        chosen = [f"role{(number * 2 + step) % roles}" for step in range(ROLES_PER_PLAY)]
        write(path, PLAY.format(number=number, roles="\n".join(f"    - {role}" for role in chosen)))
    return plays


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def median(action: Callable[[], object], runs: int) -> float:
    """The median of the seconds that an action takes."""
    taken = []
    for _ in range(runs):
        begun = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def only_parse(folder: Path) -> None:
    for path in folder.rglob("*.yml"):
        yaml.load(path.read_text(), yaml.CSafeLoader)


def call(command: Sequence[str], folder: Path) -> None:
    environment = {**os.environ, "ANSIBLE_LOCALHOST_WARNING": "0"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure opsplay check on a tree of generated files.")
    parser.add_argument("--files", type=int, default=500, help="how many files (default 500)")
    parser.add_argument("--runs", type=int, default=3, help="take medians of so many runs (default 3)")
    parser.add_argument("--ansible", default=shutil.which("ansible-playbook"), help="ansible-playbook, if there is one")
    wanted = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        plays = make_tree(folder, wanted.files)
        files = sum(path.is_file() for path in folder.rglob("*"))
        ours = median(lambda: call([sys.executable, "-m", "opsplay", "check"], folder), wanted.runs)
        parsing = median(lambda: only_parse(folder), wanted.runs)
        print(f"{files} files, {len(plays)} plays")
        print(f"opsplay check                    {ours:7.2f} s   {1000 * ours / files:6.1f} ms a file")
        print(f"only parsing the YAML            {parsing:7.2f} s   opsplay takes {ours / parsing:.1f} times as long")
        if wanted.ansible:
            some = [path.name for path in plays[:SYNTAX_CHECKED]]
            command = [wanted.ansible, "-i", "localhost,", "--syntax-check", *some]
            theirs = median(lambda: call(command, folder), 1) * len(plays) / len(some)
            scaled = f"scaled from {len(some)} plays, " if len(some) < len(plays) else ""
            ratio = f"{theirs / ours:.0f} times opsplay's"
            print(f"ansible-playbook --syntax-check  {theirs:7.2f} s   {scaled}{ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
