"""The rules for blocks in the documents, and that no document escapes them."""

from __future__ import annotations

import re

import pytest

from tests.documents import DocumentError, blocks, compare, on_the_lab
from tests.lab.cluster import REPOSITORY

SH = "```sh\ndate\n```\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SH, "without a marker"),
        ("```\ndate\n```\n", "block of no language without a marker"),
        ("```python\nimport os\n```\n", "block of python without a marker"),
        (f"<!-- run: somewhere -->\n{SH}", "nobody knows where"),
        (f"<!-- run: fails -->\n{SH}", "nobody knows where"),
        (f"<!-- run: f0 controller -->\n{SH}", "nobody knows where"),
        (f"<!-- runs: f0 -->\n{SH}", "unknown marker"),
        (f"<!-- run: f0 -->\n\n{SH}", "marker without a block"),
        (f"<!-- shows -->\n{SH}", "block of text"),
        ("<!-- run: f0 -->\n```text\ndate\n```\n", "block of sh"),
        ("<!-- run: r0 f1 -->\n```sh\necho $(date)\n```\n", "csh says to .*Illegal variable name"),
        ("<!-- run: f1 -->\n```sh\necho !x\n```\n", "csh says to .*Event not found"),
        ("<!-- run: f0 -->\n```sh\ndate\n", "not complete"),
        ("**verify says** nothing\n\n<!-- verify -->\n", "no row of verify is told above"),
        ("**verify says** `x  y  WRONG`\n\n## Next\n<!-- verify -->\n", "no row of verify is told above"),
    ],
)
def test_a_block_that_no_test_would_run_is_refused(text: str, says: str) -> None:
    with pytest.raises(DocumentError, match=says):
        blocks(text)


def test_blocks_know_where_they_run() -> None:
    text = f"## Here\n<!-- run: f0 f1 fails -->\n{SH}```mermaid\nx\n```\n<!-- shows -->\n```text\nout\n```\n"
    run, shown = blocks(text)
    assert (run.heading, run.where, run.fails, run.lines) == ("Here", ("f0", "f1"), True, ("date",))
    assert (shown.is_output, shown.lines) == (True, ("out",))


def test_rows_of_verify_are_those_of_the_paragraph_above() -> None:
    told = "**verify says** `a  ...  WRONG  b`%s and\n`c  f0  UNKNOWN`; `d` too.\n\n`e  f0  WRONG`\n<!-- verify -->\n"
    [both], [either] = blocks(told % ""), blocks(told % ", or")
    assert (both.where, both.lines, both.any_of) == (("verify",), ("a ... WRONG b", "c f0 UNKNOWN"), False)
    assert either.any_of


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("pyinfra inventory.py deploy.py -y", "pyinfra lab/inventory.py deploy.py -y"),
        ("pyinfra lab/inventory.py deploy.py", "pyinfra lab/inventory.py deploy.py"),
        ("python certificates.py status", "python certificates.py --inventory lab/inventory.py status"),
        ("python -m lab up", "python -m lab up"),
    ],
)
def test_commands_for_real_hosts_go_to_the_lab(line: str, becomes: str) -> None:
    assert on_the_lab(line) == becomes


def test_data_that_the_reader_has_changed_goes_to_pyinfra() -> None:
    [block] = blocks("<!-- data: pki_extra_clients=[] -->\n")
    assert (block.where, block.lines) == (("data",), ("pki_extra_clients=[]",))
    data = ("--data", *block.lines)
    words = "lab/inventory.py x.py --data 'pki_extra_clients=[]'"
    assert on_the_lab("pyinfra inventory.py x.py", data) == f"pyinfra {words}"
    assert on_the_lab("python -m lab up", data) == "python -m lab up"


def test_no_other_command_is_run_on_the_controller() -> None:
    with pytest.raises(DocumentError, match="not a command of this project"):
        on_the_lab("ssh f0 zpool status")


def test_output_is_compared_line_by_line_in_order() -> None:
    compare(["one ... three", "six"], "zero\none two three\nfour\nsix\n", "here")
    with pytest.raises(AssertionError, match="not shown: six"):
        compare(["one", "six"], "six\none\n", "here")
    with pytest.raises(AssertionError, match="not shown: one"):
        compare(["one"], "ones\n", "here")


@pytest.mark.parametrize(
    "name", ["README.md", *sorted(str(p.relative_to(REPOSITORY)) for p in REPOSITORY.glob("docs/*.md"))]
)
def test_every_block_of_the_documents_is_known(name: str) -> None:
    blocks((REPOSITORY / name).read_text())


def test_a_document_with_commands_has_a_test_that_runs_them() -> None:
    """tests/test_readme.py and tests/test_runbook.py."""
    with_commands = {path.name for path in REPOSITORY.glob("docs/*.md") if blocks(path.read_text())}
    assert with_commands == {"day-two.md", "runbook.md"}


def test_documents_name_files_that_are_there() -> None:
    missing = []
    for path in [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *REPOSITORY.glob("docs/*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            if not (path.parent / link).exists():
                missing.append(f"{path.name}: {link}")
    assert missing == []


def test_sudo_is_given_the_whole_path_of_our_programs() -> None:
    """Enterprise Linux 9 has no /usr/local/bin in sudo's secure_path. Next steps of verify are no less a document."""
    ours = "|".join(re.escape(file.name) for file in (REPOSITORY / "files").glob("*/*"))
    documents = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "f3s").rglob("*.py")]
    assert [path.name for path in documents if re.search(rf"sudo ({ours})\b", path.read_text())] == []


def test_the_list_of_tasks_names_the_files_in_etc_of_which_a_task_changes_lines() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.+) \|$", (REPOSITORY / "docs/tasks.md").read_text(), re.MULTILINE)
    assert len(rows) == 8
    for task, changes in rows:
        code = (REPOSITORY / "tasks" / f"{task}.py").read_text()
        names = set(re.findall(r'path="/etc/([\w.]+)"', code))
        names |= {name for call, name in (("name_virtual_ip()", "hosts"), ("fstab.entry(", "fstab")) if call in code}
        assert sorted(name for name in names if not re.search(rf"(?<![\w.]){re.escape(name)}\b", changes)) == [], task


def test_contributing_tells_what_ci_does() -> None:
    [line] = re.findall(r"^`\.ci/run` is .*$", (REPOSITORY / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    made = re.findall(r"^make ([\w-]+)", (REPOSITORY / ".ci/run").read_text(), re.MULTILINE)
    assert f"install the tools, {', '.join(made)}, and" in line


def test_what_changes_a_freebsd_host_is_run_with_doas() -> None:
    """The reader is a member of wheel; in the lab it is root who follows."""
    looks = ("ls ", "mount", "ping ", "tail ", "zfs list ")
    as_root = "From three FreeBSD boxes to a first plan"  # the block that installs doas
    for path in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        for block in blocks(path.read_text()):
            if set(block.where) & {"f0", "f1", "f2"} and block.heading != as_root:
                assert [line for line in block.lines if not line.startswith(("doas ", *looks))] == [], path.name


def test_the_map_names_what_is_there() -> None:
    table = (REPOSITORY / "docs/design.md").read_text().partition("## Where each part")[2]
    named = re.findall(r"`([\w./-]+)`", table.partition("| section |")[2])
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
    programs = {
        str(file.relative_to(REPOSITORY))
        for folder in ("tasks", "facts", "operations", "files", "templates")
        for file in (REPOSITORY / folder).rglob("*")
        if file.is_file() and file.suffix != ".pyc" and file.name != "__init__.py"
    }
    assert sorted(programs - set(named)) == []
