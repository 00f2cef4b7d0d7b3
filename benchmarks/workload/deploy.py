"""The same outcomes as site.yml, as an admin would write them for pyinfra.

pyinfra has no `changed_when`: the two commands that only read, and the call that uses their output, count as changes.
"""

from io import StringIO

from pyinfra import host, inventory
from pyinfra.facts.files import File
from pyinfra.facts.server import Kernel, LinuxDistribution
from pyinfra.operations import files, python, server


def members(group: str) -> list[str]:
    """The names of the hosts in a group, which may have none."""
    return [member.name for member in inventory if group in member.groups]


root = f"{host.data.workdir}/{host.name}"

files.directory(name="The host's own directory", path=root, mode="755")
for directory in ("conf", "data", "bin", "conf/sites"):
    files.directory(name=f"Directory {directory}", path=f"{root}/{directory}", mode="750")

configuration = files.template(
    name="The application's configuration",
    src="templates/app.conf.j2",
    dest=f"{root}/conf/app.conf",
    mode="640",
    jinja_env_kwargs={"trim_blocks": True},
    inventory_hostname=host.name,
    ansible_facts={
        "distribution": host.get_fact(LinuxDistribution)["name"],
        "system": host.get_fact(Kernel),
    },
    groups={name: members(name) for name in ("fleet", "db")},
)
files.template(
    name="The list of peers",
    src="templates/peers.j2",
    dest=f"{root}/conf/peers",
    mode="644",
    jinja_env_kwargs={"trim_blocks": True},
    inventory_hostname=host.name,
    groups={"web": members("web")},
)
files.put(
    name="A notice",
    src=StringIO(f"This is {host.name}.\nChanges made by hand will be lost.\n"),
    dest=f"{root}/conf/notice",
    mode="644",
)

service = f"{root}/conf/service.conf"
if not host.get_fact(File, path=service):
    files.put(name="A file that only has to be there", src="files/service.conf", dest=service)
files.file(name="Its mode", path=service, mode="600")
files.line(name="One line replaced", path=service, line="^workers=.*", replace="workers=8")
files.line(name="One line removed", path=service, line="^debug=.*", present=False)
files.line(name="One line added", path=service, line=f"owner={host.name}")
files.block(
    name="A block",
    path=service,
    content="[limits]\nfiles=65536\nprocesses=4096",
    marker="# {mark} ANSIBLE MANAGED BLOCK",
)
if "web" in host.groups:
    files.replace(name="A word, on web hosts", path=service, text="backlog=128", replace="backlog=1024")

for site in ("shop", "blog", "api"):
    files.put(
        name=f"A file for site {site}",
        src=StringIO(f"server_name {site}.example;\n"),
        dest=f"{root}/conf/sites/{site}.conf",
        mode="644",
    )
files.put(name="A program", src="files/tool.sh", dest=f"{root}/bin/tool", mode="755")

checksum = server.shell(name="Output that a later task uses", commands=[f"cd {root} && cksum conf/notice"])
search = server.shell(
    name="A search that may find nothing",
    commands=[f"cd {root} && grep -c obsolete conf/service.conf || test $? -eq 1"],
)
if not host.get_fact(File, path=f"{root}/data/initialised"):
    server.shell(name="A thing done once", commands=[f"cd {root} && touch data/initialised"])


def write_summary() -> None:
    """What only the execution can know: the output of the two commands."""
    files.put(
        name="What was learned, written down",
        src=StringIO(f"notice {checksum.stdout.split()[0]}\nobsolete {search.stdout}\n"),
        dest=f"{root}/data/summary",
        mode="644",
    )


def check_configuration() -> None:
    """The stat and the assertion."""
    state = host.get_fact(File, path=f"{root}/conf/app.conf")
    if not state or state["mode"] != 640 or not state["size"]:
        raise ValueError(f"conf/app.conf of {host.name} is not what it should be: {state}")


python.call(name="Use the output", function=write_summary)
python.call(name="It is what it should be", function=check_configuration)

files.link(name="A link to the configuration", path=f"{root}/data/current", target="../conf/app.conf")
files.link(name="A link to the program", path=f"{root}/bin/t", target="tool")
files.file(name="A mode", path=f"{root}/data/initialised", mode="444")
files.directory(name="A private directory", path=f"{root}/data/private", mode="700")
server.shell(
    name="Reload the application",
    commands=[f"cd {root} && cp -p conf/app.conf data/reloaded"],
    _if=configuration.did_change,
)
