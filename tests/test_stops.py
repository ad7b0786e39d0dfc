"""Every stop of the deploy, with the test that brings it about, does what it advises, and gets on.

The stops are collected from the programs: a new one without a line here fails. Of the data (SettingsError) each line
says what is allowed, and tests/f3s/test_settings_checks.py writes that; certificates.py is tested by
tests/test_certificates.py.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.tasks.test_advice import STOPS

ROOT = Path(__file__).resolve().parents[1]
KINDS = {"OperationError", "DeployError", "NoPlace", "FstabConflict", "Refusal"}

ADVICE = "tests/tasks/test_advice.py: "
TEXTS = "tests/f3s/test_two_owners.py::"
BHYVE = "tests/f3s/bhyve/test_plan.py::"
AFTER = "tests/f3s/bhyve/test_afterwards.py::"
ZREPL = "tests/operations/test_zrepl.py::"
KEYS = "tests/tasks/test_storage_in_lab.py::"
KILLED = "tests/tasks/test_return.py::test_a_return_that_is_killed_again_and_again_ends_as_one_that_never_was"
ROTATED = (
    "tests/tasks/test_rotation.py::test_a_rotation_that_is_killed_again_and_again_ends_with_one_new_key_that_opens_all"
)
VM_KILLED = "tests/tasks/test_return_vm.py::test_a_return_that_is_killed_again_and_again_ends_as_one_that_never_was"
NONE = "no advice: "
STATE = "no advice: it tells a state that only its owner knows the reason of"
BUG = "no advice: a fault of a task of this project"

TABLE = {
    "operations/base.py": {
        "{}: {}. Nothing was changed": NONE + "passes on what a silent disk needs: docs/runbook.md, Stick dead",
        "could not be read; nothing was changed": NONE + "the error above it is the host's own",
        "something changed since": KILLED,
        "left to do": KILLED,
    },
    "operations/bhyve.py": {
        "{}: {}": NONE + "passes on what f3s/bhyve refuses, below",
    },
    "operations/carp.py": {
        "carp_other_vhids": ADVICE + "another vhid",
        "{}: {}": "tests/operations/test_carp.py::test_an_address_that_the_kernel_would_refuse_is_refused_first",
        "carp_unicast needs FreeBSD 14": ADVICE + "unicast before FreeBSD 14",
        "move its variables to /etc/rc.conf": ADVICE + "an rc.conf.d/netif of somebody else",
        "without a vhid; remove that address": ADVICE + "the address without a vhid",
        "belongs to vhid": "tests/operations/test_carp.py::test_the_address_of_another_vhid",
        "devd runs one rule for an event": ADVICE + "a rule of somebody else for CARP",
        "gets a new CARP password": "tests/tasks/test_carp.py::test_a_new_password_comes_to_both_hosts_or_to_none",
    },
    "operations/fstab.py": {
        "is missing or empty": NONE + "a host without /etc/fstab does not boot",
        "decide about it by hand": "tests/operations/test_fstab.py::test_a_line_of_somebody_else_is_moved_by_hand",
    },
    "operations/machines.py": {
        "{}: {}": NONE + "passes on the reasons of the two hosts: tests/f3s/test_machines.py",
        "was written to": "tests/operations/test_machines.py::test_all_datasets_are_sent_and_known_to_be_there",
    },
    "operations/move.py": {
        "undone": NONE + "passes on the reasons of f3s/verify/move.py: tests/f3s/verify/test_move.py",
        "nothing was promoted": NONE + "the run above says what does not answer",
    },
    "operations/names.py": {"hostnamectl": "tests/operations/test_names.py::test_the_name_of_every_host_is_refused"},
    "operations/nfs.py": {
        "tasks/zfs_encrypt.py": KEYS + "test_a_reboot_without_the_stick_goes_on_and_writes_no_plain_text",
        "{}: {}": ADVICE + "a dataset below the export",
        "{}/{} is not a file": ADVICE + "a directory in the place of the marker",
        "cannot be asked": NONE + "run this again when it answers: tests/operations/test_nfs.py",
        "zfs destroy -r": ADVICE + "the data was made anew",
        "is not a directory": ADVICE + "a file in the place of a share",
        "nfs_for_others": "tests/tasks/test_two_owners.py::"
        "test_what_is_the_operators_stays_and_the_second_run_changes_nothing",
    },
    "operations/order.py": {"failed above": NONE + "the failure above it says what to do"},
    "operations/reasons.py": {"to stop": NONE + "the list of all of these"},
    "operations/replicas.py": {
        "is not encrypted": ADVICE + "the plain replica of an earlier job",
        "{}: {}": ADVICE + "another file system in the place of the replica",
    },
    "operations/returning.py": {
        "{}: {}": NONE + "passes on the reasons of the two hosts: tests/f3s/test_returning.py",
        "could not be read; nothing was changed": NONE + "the error above it is the host's own",
        "did not become read-only": NONE + "the error of that command stands above it",
        "did not arrive": "tests/operations/test_returning.py::test_all_that_there_is_is_sent_and_known_to_be_there",
    },
    "operations/rotation.py": {
        "{}: {}": NONE + "passes on the reasons of all hosts: tests/f3s/test_rotation.py",
    },
    "operations/secrets.py": {
        "is not absolute": BUG,
        "lets others in": BUG,
        "is not a name of a user": BUG,
        "must be text": BUG,
        "give it a copy with another name": "tests/operations/test_secrets.py::"
        "test_certificates_of_others_stay_unless_the_data_say_so",
    },
    "operations/selinux.py": {
        "semanage is not there": "tests/operations/test_fstab.py::test_semanage_is_installed_by_an_earlier_operation"
    },
    "operations/services.py": {"there is no service": NONE + "the package's own installation has failed above"},
    "operations/stunnel.py": {
        "could neither stop it": "tests/tasks/test_stunnel.py::"
        "test_a_daemon_without_a_pid_file_is_named_before_anything_is_changed"
    },
    "operations/swapping.py": {
        "could not be asked": NONE + "the error above it is the host's own",
        "no swap now": NONE + "passes on the reasons of the two hosts: tests/f3s/test_swapping.py",
    },
    "operations/textfile.py": {
        "has a program of that name": "tests/tasks/test_two_owners.py::"
        "test_what_is_the_operators_stays_and_the_second_run_changes_nothing",
        "was left as it is": ZREPL + "test_one_without_a_place_for_our_jobs_is_replaced_only_if_the_data_say_so",
    },
    "operations/units.py": {"systemd knows no": NONE + "the package's own installation has failed above"},
    "operations/usb.py": {
        "has no label": ADVICE + "a stick of something else",
        "plug the stick in": "tests/test_runbook.py::test_its_commands_mend_it",
        "was not formatted": ADVICE + "a stick without a label that is not mounted",
        "it belongs on": ADVICE + "a stick mounted elsewhere",
        "is taken by": ADVICE + "something else in the place of the stick",
        "{}": ADVICE + "a key that is in use is on no stick",
        "no copy was made": KEYS + "test_a_sealed_copy_brings_the_keys_back_when_no_stick_has_them",
        "could not be read from": NONE + "the stick changed between two questions: run again",
        "did not answer within": "scenarios/storage.py::unreadable_stick",
    },
    "operations/zfs.py": {
        "zpool status -v": ADVICE + "the pool's disk does not answer",
        "Moving it would unmount": ADVICE + "the pool has another mount point",
        "find out who uses that": ADVICE + "something is mounted in the place of the pool",
        "its canmount is": ADVICE + "the pool is not to be mounted",
        "it is encrypted itself": "tests/operations/test_zfs.py::test_the_root_dataset_of_a_pool_is_mounted",
        "which is a {} and not a directory": ADVICE + "a file in the place of the pool",
        "nobody would see that any more": ADVICE + "files in the place of the pool",
        "NOT encrypted": ADVICE + "a plain dataset in the place of the encrypted one",
        "keeps its cipher for life": ADVICE + "another cipher than the data say",
        "does not open": KEYS + "test_a_stick_with_another_key_stops_the_deploy_until_the_file_is_set_aside_as_told",
        "cannot be mounted: mountpoint": STATE,
        "cannot be mounted, its key": NONE + "the step above loads it, or says why it cannot",
        "where only {} belongs": ADVICE + "a foreign file system on the mount point",
        "is a {}, not a directory": ADVICE + "a file in the place of the mount point",
        "UNENCRYPTED": ADVICE + "plain text on the mount point",
        "and the pool {} was not made": ADVICE + "no such disk",
        "the pool {} was not made, disk": ADVICE + "the data disk is not blank",
        "another disk has one of that name": "tests/operations/test_zfs.py::test_no_other_disk_becomes_a_pool",
        "could be mounted": BUG,
        "inherits the key of": KEYS
        + "test_a_stick_with_another_key_stops_the_deploy_until_the_file_is_set_aside_as_told",
        "cannot get a key of its own": NONE + "the step above loads it, or says why it cannot",
        "no key can be loaded": BUG,
        "Copy it on this stick": ADVICE + "a key of another name",
        "where this deploy looks for it, is": "tests/operations/test_zfs.py::"
        "test_a_key_with_another_name_is_copied_by_hand_before_anything_is_made",
        "does not exist and cannot be mounted": BUG,
        "was not made: {} is not mounted": NONE + "the step above mounts it, or says why it cannot",
        "the settings want {}; the pool": ADVICE + "another disk than the data say",
    },
    "operations/zrepl.py": {
        "nothing was sent": "tests/operations/test_zrepl.py::test_what_was_never_replicated_needs_room",
        "{}: nothing was changed. {}": ADVICE + "a dataset that is not there is to be sent",
        "is its package installed": NONE + "the package's own installation has failed above",
        "cannot be asked which": NONE + "run this again when it answers: " + ZREPL,
        "{}: nothing was changed: {}": ZREPL + "test_snapshots_that_the_rules_before_kept_stop_the_run_on_either_side",
        "the running zrepl has no job": STATE,
    },
    "tasks/failback.py": {
        "no failback now": "tests/tasks/test_failover.py::test_there_and_back_unless_the_primary_could_not_serve"
    },
    "tasks/failover.py": {"no failover now": "scenarios/storage.py::diverged"},
    "tasks/return_primary.py": {
        "say where the role goes back to": "scenarios/promotion.py::return_",
        "no return now": NONE + "passes on the reasons of the two hosts: tests/f3s/test_returning.py",
    },
    "tasks/rotate_keys.py": {"say which key": ROTATED, "no rotation now": ROTATED},
    "tasks/shared.py": {
        "only a standby can be replaced": "tests/tasks/test_swap.py::test_a_host_that_writes_is_not_replaced",
        "or retire it": "tests/test_runbook.py::test_its_commands_mend_it",
        "run tasks/swap_roles.py": "scenarios/promotion.py::swap",
    },
    "tasks/return_vm.py": {
        "--data return_vm=NAME": "tests/tasks/test_return_vm.py::test_what_refuses_before_anything_is_changed",
        "does not take part": "tests/tasks/test_return_vm.py::test_what_refuses_before_anything_is_changed",
        "does not return now": "tests/tasks/test_return_vm.py::test_what_refuses_before_anything_is_changed",
    },
    "tasks/promote.py": {
        "--data promote=f1": "tests/test_runbook.py::test_its_commands_mend_it",
        "no promotion now": "tests/test_runbook.py::test_its_commands_mend_it",
    },
    "tasks/survey.py": {
        "run it by itself": "tests/tasks/test_verify.py::test_it_runs_by_itself",
        "name a new folder": "tests/tasks/test_survey.py::test_hosts_on_which_everything_is_missing",
    },
    "tasks/verify.py": {"run it by itself": "tests/tasks/test_verify.py::test_it_runs_by_itself"},
    "f3s/bhyve/afterwards.py": {
        "Put the stick in": "tests/lab/test_bhyve_migrate.py::test_a_boot_without_the_stick_is_made_up_for",
        "unknown which virtual machines run": STATE,
        "is not destroyed": NONE + "the reasons of the next ones",
        "is not mounted with its key loaded": STATE,
        "the stick {} is not mounted": STATE,
        "the boot opens": STATE,
        "is not proven to open": STATE,
        "unknown whether the virtual machines": STATE,
        "not running from": "tests/lab/test_bhyve_migrate.py::"
        "test_the_old_tree_is_destroyed_on_the_switch_with_all_proofs",
        "are clones of its snapshots": STATE,
    },
    "f3s/bhyve/commands.py": {
        "unmount it": BHYVE + "test_what_a_refusal_advises_leads_on",
        "NOT ENCRYPTED": BHYVE + "test_what_a_refusal_advises_leads_on",
    },
    "f3s/bhyve/copying.py": {
        "cannot be brought up to its source": BHYVE + "test_what_a_refusal_advises_leads_on",
        "somebody else made it": STATE,
        "too little space": BHYVE + "test_a_migration_that_must_not_begin_or_go_on",
    },
    "f3s/bhyve/model.py": {
        "A power cut leaves": BHYVE + "test_a_power_cut_after_the_migration_leaves_a_way_to_destroy_the_old_tree",
        "are not proven": STATE,
        "has no counterpart": STATE,
        "has lost its snapshot": STATE,
        "has not the GUID": STATE,
    },
    "f3s/bhyve/plan.py": {
        "is of unknown origin (it has no mark of this migration): it is not": STATE,
        "To begin anew with a backup": BHYVE + "test_what_a_refusal_advises_leads_on",
        "has the unknown mark": STATE,
        "If its name is free for the old tree": BHYVE + "test_what_a_refusal_advises_leads_on",
        "somebody made a second one": STATE,
        "may be the only copy": STATE,
        "is not an encryption root": STATE,
        "set it back until it is over": BHYVE + "test_another_name_in_the_middle_of_a_migration",
    },
    "f3s/bhyve/rebuild.py": {
        "was not made by this migration": STATE,
        "without a counterpart": STATE,
        "without the snapshot": STATE,
        "{}": NONE + "passes on what f3s/bhyve/copying.py says",
        "the place of": STATE,
        "not installed any more": STATE,
        "{} cannot be started: {}": STATE,
    },
    "f3s/bhyve/retire.py": {
        "is not encrypted, but marked": STATE,
        "has begun, but vm-bhyve": STATE,
        "vm_dir in rc.conf": STATE,
        "vm-bhyve needs a directory": STATE,
        "must stand beside": STATE,
        "is the stick mounted": "tests/lab/test_bhyve_migrate.py::test_a_boot_without_the_stick_is_made_up_for",
        "feature@encryption=enabled": BHYVE + "test_what_a_refusal_advises_leads_on",
        "others are mounted in it": BHYVE + "test_what_a_refusal_advises_leads_on",
        "stop them by hand": BHYVE + "test_what_a_refusal_advises_leads_on",
        "has no need of its lock": BHYVE + "test_what_a_refusal_advises_leads_on",
        "{}: {}": NONE + "passes on the reasons of the tree",
        "unknown which virtual machines run": STATE,
    },
    "f3s/bhyve/tree.py": {
        "With its virtual machine stopped": "tests/lab/test_bhyve_migrate.py::"
        "test_what_came_in_plain_text_is_copied_as_the_refusal_says",
        "not under the encryption root": STATE,
    },
    "f3s/exports.py": {"Take the line out": ADVICE + "another root of NFSv4"},
    "f3s/fstab.py": {
        "both mount something": "tests/operations/test_fstab.py::test_a_line_of_somebody_else_is_moved_by_hand",
        "line {} mounts": "tests/operations/test_fstab.py::test_a_line_of_somebody_else_is_moved_by_hand",
    },
    "f3s/stunnel.py": dict.fromkeys(
        ("give it another port", "call it otherwise", "has to be", "move it into the services"),
        TEXTS + "test_a_line_that_excludes_ours_is_named_and_the_way_on",
    ),
    "f3s/textfile.py": {"remove the rest of that block": TEXTS + "test_there_is_one_root_of_nfsv4"},
    "f3s/zrepl_file.py": {
        **dict.fromkeys(
            (
                "not written as indented lines",
                "`jobs` is not written",
                "`global` is empty",
                "the dash of a job",
                "another name there",
                "takes jobs from other files",
                "is not what zrepl takes",
                "not the configuration of zrepl",
                "in zrepl_jobs|take it out there",
            ),
            TEXTS + "test_where_there_is_no_place_for_ours_and_the_way_on",
        ),
        "write that text out": TEXTS + "test_a_text_that_jobs_share_is_not_torn_apart",
    },
    "bridge/escrow.py": {
        "no copy was made": NONE + "passes on what OpenSSL or the file system says",
        "was not written": NONE + "passes on what the file system says",
        "escrow_from": KEYS + "test_a_sealed_copy_brings_the_keys_back_when_no_stick_has_them",
    },
    "bridge/settings.py": {"{}": "tests/tasks/test_stunnel.py::test_without_certificates_it_says_how_to_make_them"},
    "bridge/view.py": {"does not take part": NONE + "it sends to tasks/verify.py"},
}


def stops() -> list[tuple[str, str]]:
    """The file and the text of each, with `{}` for what is filled in."""
    found = []
    for room in ("operations", "tasks", "f3s", "bridge"):
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                call = node.exc if isinstance(node, ast.Raise) else None
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in KINDS:
                    found.append((str(file.relative_to(ROOT)), text(call.args[0])))
    return found


def text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return text(node.left) + text(node.right)
    return "{}"


def lines_of(file: str, said: str) -> list[str]:
    """The lines of the table for a stop; one that ends with what is filled in is for that text alone."""
    keys = TABLE.get(file, {})
    return [said] if said in keys else [key for key in keys if not key.endswith("{}") and holds(said, key)]


def holds(said: str, key: str) -> bool:
    return any(part in said for part in key.split("|"))


@pytest.mark.parametrize(("file", "said"), stops())
def test_every_stop_has_its_line(file: str, said: str) -> None:
    found = lines_of(file, said)
    assert len(found) == 1, f"{file}: {said!r} is in the table as {found}; it needs a test that does what it advises"


def test_every_line_is_about_a_stop() -> None:
    used = {(file, key) for file, said in stops() for key in lines_of(file, said)}
    assert [(file, key) for file, lines in TABLE.items() for key in lines if (file, key) not in used] == []


def test_every_test_of_the_table_is_there() -> None:
    names = {stop.name for stop in STOPS}
    for line in {line for lines in TABLE.values() for line in lines.values()}:
        if line.startswith(NONE):
            continue
        if line.startswith(ADVICE):
            assert line.removeprefix(ADVICE) in names
            continue
        file, _, function = line.partition("::")
        assert re.search(rf"^def {function}\(", (ROOT / file).read_text(), re.MULTILINE), line


def test_what_is_not_followed_does_not_get_more() -> None:
    followed = [lines[key] for file, said in stops() for lines in (TABLE[file],) for key in lines_of(file, said)]
    assert sum(line == STATE for line in followed) <= 33
