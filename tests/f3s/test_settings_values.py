"""Each refusal of a single value, with its exact text."""

from __future__ import annotations

from typing import Any

import pytest

from tests.f3s.settings_data import CLIENTS, EVERY, F0, FREEBSD, STORAGE, build, change, good, refusals

ADDRESS = "an IPv4 address such as 192.168.1.130"
NETWORK = "an IPv4 network such as 192.168.1.0/24, host bits zero"
HOST_NAME = "a host name in lower case, such as f0.lan.example.org"
DEVICE = "a whole device by its name below /dev, such as da0"
LABEL = "1 to 31 letters, digits, _ and -, no leading -"
MOUNTPOINT = "an absolute, normalised path outside the operating system's directories"
BOOT_MOUNTPOINT = "a directory directly below /, such as /keys"
URL = "http:// or https://, then letters, digits and ._~:/?=&%+-, or None"
PATH = "an absolute, normalised path of letters, digits and ._:@+-"
POOL = "a letter, then letters, digits and _.:-; not log, mirror..., raidz..., draid... or spare..."
DATASET = "POOL/NAME[/NAME...] of letters, digits and _.:-, 255 characters at most"
DURATION = "a positive whole number and one of s, m, h, d, w, such as 10m"
GRID = "NxDURATION[(keep=all|N)] | ..., durations not decreasing, such as 24x1h | 14x1d"
PORT = "a whole number from 1 to 65535"
SECONDS = "a whole number of seconds from 1 to 86400"
DAYS = "a whole number of days from 1 to 36500"
PASSWORD = "8 to 19 letters, digits and ._+, or None for one that certificates.py makes"
FILE_NAME = "one file name of letters, digits and ._-, no leading dash or dot"
KEY = "PURPOSE for the host's own key, or HOST:PURPOSE"
PRESETS = "a dictionary NAME: 'option,option=value,...', without port, sec, _netdev, nofail, ro and x-systemd.automount"
CIPHERS = "aes-128-ccm or aes-192-ccm or aes-256-ccm or aes-128-gcm or aes-192-gcm or aes-256-gcm"
JOB_NAME = "letters, digits, _ and -, beginning with a letter"

FOLDER = "a folder, relative to the project or absolute, of letters, digits and ._/-"
INTERFACE = "an interface name such as re0, 15 characters at most"

FORM = "has not the right form"
APART = "has characters that fstab, rc.conf or a shell would take apart"
STANDBY = "which makes every server look like the read-only standby"
AUTO = "x-systemd.automount"
AUTOFS = "which puts autofs there, which the monitor leaves alone as a foreign mount"
NUMBER = "is not a whole number"
RANGE = "is out of range"
TEXT = "is not text (a quoted string)"

Case = tuple[tuple[str, ...], str, Any, str, str]

CASES: list[Case] = [
    ((F0,), "lan_address", "192.168.1.300", "is not an IPv4 address", ADDRESS),
    ((F0,), "lan_address", "192.168.1.130/24", "is not an IPv4 address", ADDRESS),
    ((F0,), "lan_address", "fd00::130", "is not an IPv4 address", ADDRESS),
    ((F0,), "lan_address", "", "is empty", ADDRESS),
    ((F0,), "lan_address", 3232235906, TEXT, ADDRESS),
    ((F0,), "wireguard_address", "f0", "is not an IPv4 address", ADDRESS),
    (EVERY, "lan_network", "192.168.1.1/24", "is not an IPv4 network", NETWORK),
    (FREEBSD, "wireguard_network", "192.168.2.0/33", "is not an IPv4 network", NETWORK),
    (EVERY, "vip_address", "f3s", "is not an IPv4 address", ADDRESS),
    (EVERY, "vip_names", [], "is too short", "a list of host names, 1 or more"),
    (EVERY, "vip_names", 7, "is not a list", "a list of host names, 1 or more"),
    (EVERY, "vip_names", ["a", "a"], "holds 'a' twice", "a list of host names, 1 or more"),
    (EVERY, "stunnel_port", 0, RANGE, PORT),
    (EVERY, "stunnel_port", 65536, RANGE, PORT),
    (EVERY, "stunnel_port", "2323", NUMBER, PORT),
    (EVERY, "stunnel_port", True, NUMBER, PORT),
    (EVERY, "pki_directory", "se crets", FORM, FOLDER),
    (EVERY, "pki_ca_days", 0, RANGE, DAYS),
    (EVERY, "pki_server_days", 36501, RANGE, DAYS),
    (EVERY, "pki_client_days", None, NUMBER, DAYS),
    (EVERY, "pki_renew_before_days", -1, RANGE, DAYS),
    ((F0,), "usb_device", "/dev/da0", FORM, DEVICE),
    ((F0,), "usb_device", "da0p1", FORM, DEVICE),
    ((F0,), "usb_device", "da", FORM, DEVICE),
    ((F0,), "usb_device", "-f0", FORM, DEVICE),
    (FREEBSD, "usb_label", "F3S KEYS", FORM, LABEL),
    (FREEBSD, "usb_label", "-KEYS", FORM, LABEL),
    (FREEBSD, "usb_label", "K" * 32, "has 32 characters, 31 at most fit", LABEL),
    (FREEBSD, "usb_mountpoint", "keys", "is not an absolute path", BOOT_MOUNTPOINT),
    (FREEBSD, "usb_mountpoint", "/keys/", "is not normalised", BOOT_MOUNTPOINT),
    (FREEBSD, "usb_mountpoint", "//keys", "is not normalised", BOOT_MOUNTPOINT),
    (FREEBSD, "usb_mountpoint", "/a/../keys", "is not normalised", BOOT_MOUNTPOINT),
    (FREEBSD, "usb_mountpoint", "/my keys", APART, BOOT_MOUNTPOINT),
    (FREEBSD, "usb_mountpoint", "/etc", "is a directory of the operating system", BOOT_MOUNTPOINT),
    ((F0,), "usb_format_allow", {"da0": True}, "is not a list", "a list of devices"),
    ((F0,), "pool_disk", "/dev/ada1", FORM, f"{DEVICE}, or None"),
    ((F0,), "pool_disk_serial", "", "is empty", "the text that diskinfo shows, or None"),
    ((F0,), "pool_name", "9data", FORM, POOL),
    ((F0,), "pool_name", "mirror1", "is a name that ZFS reserves", POOL),
    ((F0,), "pool_name", "log", "is a name that ZFS reserves", POOL),
    ((F0,), "pool_mountpoint", "/", "is a directory of the operating system", MOUNTPOINT),
    ((F0,), "pool_autotrim", "on", "is neither true nor false", "True or False"),
    ((F0,), "pool_scrub", 1, "is neither true nor false", "True or False"),
    ((F0,), "pool_failmode", "stop", "is not one of the choices", "wait or continue or panic"),
    ((F0,), "pool_scrub_threshold_days", 0, RANGE, DAYS),
    ((F0,), "enc_encryption", "on", "is not one of the choices", CIPHERS),
    ((F0,), "enc_dataset", "zdata", "is a whole pool, not a dataset below one", DATASET),
    ((F0,), "enc_dataset", "/zdata/enc", FORM, DATASET),
    ((F0,), "enc_dataset", "zdata//enc", "has a part that ZFS does not allow, ''", DATASET),
    ((F0,), "enc_dataset", "zdata/enc@now", "has a part that ZFS does not allow, 'enc@now'", DATASET),
    ((F0,), "enc_dataset", "zdata/../enc", "has a part that ZFS does not allow, '..'", DATASET),
    ((F0,), "enc_dataset", "zdata/" + "e" * 250, "has 256 characters, 255 at most fit", DATASET),
    ((F0,), "enc_key", "F0:zdata", FORM, KEY),
    ((F0,), "bhyve_snapshot", "pool@snap", FORM, "letters, digits and _.:-, beginning with a letter"),
    ((F0,), "bhyve_stop_timeout", 0, RANGE, SECONDS),
    ((F0,), "bhyve_stop_timeout", "3m", NUMBER, SECONDS),
    ((F0,), "zrepl_port", 70000, RANGE, PORT),
    ((F0,), "zrepl_keep_last", 0, RANGE, "a whole number from 1 to 100000"),
    ((F0,), "zrepl_keep_grid", "24x1y", "is not a duration that zrepl can parse", GRID),
    ((F0,), "zrepl_keep_grid", "0x1h", "has a part that zrepl cannot parse, '0x1h'", GRID),
    ((F0,), "zrepl_keep_grid", "1h", "has a part that zrepl cannot parse, '1h'", GRID),
    ((F0,), "zrepl_keep_grid", "2x1h | 3x10m", "has intervals that get shorter", GRID),
    ((F0,), "zrepl_first_replication_timeout", 90000, RANGE, SECONDS),
    ((F0,), "carp_interface", "re0; reboot", FORM, INTERFACE),
    ((F0,), "carp_interface", "verylonginterface0", "has 18 characters, 15 at most fit", INTERFACE),
    (STORAGE, "carp_vhid", 0, RANGE, "a whole number from 1 to 254"),
    (STORAGE, "carp_vhid", 255, RANGE, "a whole number from 1 to 254"),
    (STORAGE, "carp_advbase", 256, RANGE, "a whole number of seconds from 1 to 255"),
    (STORAGE, "carp_failback_losses", 0, RANGE, "a whole number of times from 1 to 100"),
    (FREEBSD, "nfs_fsid", 0, RANGE, "a whole number from 1 to 1000"),
    (FREEBSD, "nfs_owners", "root", "is not one of the choices", "numeric or names"),
    (FREEBSD, "nfs_idmap_domain", "lan_buetow", "is not a host name", HOST_NAME),
    (FREEBSD, "nfs_marker", "../marker", FORM, FILE_NAME),
    (FREEBSD, "nfs_marker", "-rf", FORM, FILE_NAME),
    (FREEBSD, "nfs_failback_block", "a/b", FORM, FILE_NAME),
    (CLIENTS, "client_mount_presets", {}, "is not a dictionary with one preset or more", PRESETS),
    (CLIENTS, "client_mount_presets", {"lan": 1}, "holds something that is not text", PRESETS),
    (CLIENTS, "client_mount_presets", {"lan": "rw,hard,soft"}, "sets both hard and soft in 'lan'", PRESETS),
    (CLIENTS, "client_mount_presets", {"lan": "rw,port=1"}, "sets port in 'lan', which the deploy does itself",
     PRESETS),
    (CLIENTS, "client_mount_presets", {"lan": "hard,ro"}, f"sets ro in 'lan', {STANDBY}", PRESETS),
    (CLIENTS, "client_mount_presets", {"lan": f"hard,{AUTO}"}, f"sets {AUTO} in 'lan', {AUTOFS}", PRESETS),
    (CLIENTS, "client_mount_presets", {"lan": "rw, hard"}, "has a word in 'lan' that is no mount option, ' hard'",
     PRESETS),
    (STORAGE, "alert_ping_url", "hc-ping.com/x", "has not the right form", URL),
    (CLIENTS, "client_monitor_interval", 0, RANGE, "a whole number of seconds from 1 to 60"),
    (CLIENTS, "client_monitor_interval", 61, RANGE, "a whole number of seconds from 1 to 60"),
    (CLIENTS, "client_stat_timeout", 2.5, NUMBER, SECONDS),
    (CLIENTS, "client_metrics_file", "nfs.prom", "is not an absolute path", f"{PATH}, or None"),
    (CLIENTS, "client_escalate_after", -1, RANGE, "a whole number of failed checks (0 = never) from 0 to 100000"),
    (CLIENTS, "client_escalate_command", "drain", "is not an absolute path", f"{PATH}, or None"),
]  # fmt: skip


@pytest.mark.parametrize(("hosts", "variable", "value", "wrong", "allowed"), CASES)
def test_value_is_refused(hosts: tuple[str, ...], variable: str, value: Any, wrong: str, allowed: str) -> None:
    lines = refusals(change(good(), hosts, **{variable: value}))
    assert lines == [f"{host}: {variable} = {value!r}: {wrong}; allowed: {allowed}" for host in sorted(hosts)]


ITEMS: list[Case] = [
    (EVERY, "vip_names", ["f3s", "F3S.lan"], "is not a host name", HOST_NAME),
    (EVERY, "vip_names", ["f3s", "-f3s"], "is not a host name", HOST_NAME),
    (EVERY, "vip_names", ["f3s", "f3s..lan"], "is not a host name", HOST_NAME),
    (EVERY, "pki_extra_clients", ["earth", "ea:rth"], "is not a host name", HOST_NAME),
    (FREEBSD, "usb_purposes", ["bhyve", "z data"], FORM, "a lower-case word of letters, digits and _"),
    ((F0,), "usb_format_allow", ["da0", "/dev/da1"], FORM, DEVICE),
    ((F0,), "bhyve_destroy_old", [F0, "F1"], "is not a host name", HOST_NAME),
    ((F0,), "zrepl_rollback_replicas", ["f0_to_f1_nfsdata", "_x"], FORM, JOB_NAME),
]


@pytest.mark.parametrize(("hosts", "variable", "value", "wrong", "allowed"), ITEMS)
def test_item_of_a_list_is_refused(
    hosts: tuple[str, ...], variable: str, value: list[str], wrong: str, allowed: str
) -> None:
    lines = refusals(change(good(), hosts, **{variable: value}))
    assert {f"{host}: {variable}[1] = {value[1]!r}: {wrong}; allowed: {allowed}" for host in hosts} <= set(lines)


JOB_FIELDS = "name, source, target, dataset, interval, replica_mountpoint"


@pytest.mark.parametrize(
    ("change_job", "line"),
    [
        ({"interval": "1M"}, f"interval = '1M': is not a duration that zrepl can parse; allowed: {DURATION}"),
        ({"interval": 60}, f"interval = 60: {TEXT}; allowed: {DURATION}"),
        ({"interval": "20000w"}, f"interval = '20000w': is a longer duration than zrepl can hold; allowed: {DURATION}"),
        ({"name": "_nfs"}, f"name = '_nfs': {FORM}; allowed: {JOB_NAME}"),
        ({"source": "f0:lan"}, f"source = 'f0:lan': is not a host name; allowed: {HOST_NAME}"),
        ({"dataset": "zdata"}, f"dataset = 'zdata': is a whole pool, not a dataset below one; allowed: {DATASET}"),
        (
            {"replica_mountpoint": "x"},
            f"replica_mountpoint = 'x': is not an absolute path; allowed: {MOUNTPOINT}, or None",
        ),
        ({"intervall": "1m"}, f"intervall = '1m': is unknown; did you mean interval?; allowed: {JOB_FIELDS}"),
    ],
)
def test_field_of_a_job_is_refused(change_job: dict[str, Any], line: str) -> None:
    inventory = good()
    for host in FREEBSD:
        inventory[host][1]["zrepl_jobs"][0].update(change_job)
    assert refusals(inventory) == [f"{host}: zrepl_jobs[0].{line}" for host in FREEBSD]


def test_a_job_without_a_target_and_one_that_is_no_dictionary() -> None:
    inventory = good()
    for host in FREEBSD:
        jobs = inventory[host][1]["zrepl_jobs"]
        del jobs[0]["target"]
        jobs[1] = "f0_to_f1"
    assert refusals(inventory) == [
        f"{host}: zrepl_jobs{line}"
        for host in FREEBSD
        for line in (
            f"[0].target = (not set): is missing; allowed: {HOST_NAME}",
            f"[1] = 'f0_to_f1': is not a dictionary; allowed: a dictionary with {JOB_FIELDS}",
        )
    ]


@pytest.mark.parametrize(
    ("password", "wrong"),
    [
        ("changeme", "is a placeholder"),
        ("Change-Me.1", "is a placeholder"),
        ("secret", "is a placeholder"),
        ("testpass", "is a placeholder"),
        ("", "is empty"),
        ("a1b2c3d", "has only 7 characters"),
        ("a1b2c3d4e5f6g7h8i9j0", "has 20 characters, ifconfig cuts it after 19"),
        ("a1b2c3d4 e5f6", "has characters that rc.conf would take apart"),
        ("a1b2c3d4'e5f6", "has characters that rc.conf would take apart"),
        # network.subr takes a1b2c3d4-e5f6 for a range of addresses, and never comes back from it
        ("a1b2c3d4-e5f6", "has characters that rc.conf would take apart"),
        ("-a1b2c3d4e5f6", "has characters that rc.conf would take apart"),
        (12345678, "is not text (a quoted string)"),
    ],
)
def test_carp_password_is_refused_and_never_shown(password: object, wrong: str) -> None:
    lines = refusals(change(good(), STORAGE, carp_password=password))
    assert lines == [f"{host}: carp_password = (hidden): {wrong}; allowed: {PASSWORD}" for host in STORAGE]


def test_carp_password_that_ifconfig_takes_whole() -> None:
    site = build(change(good(), STORAGE, carp_password="a1b2c3d4e5f6g7h8i9j"))
    assert site.primary.carp.password == "a1b2c3d4e5f6g7h8i9j"
