"""The cluster as a drawing: boxes, lines and their places, for templates/verify.html.j2. Lengths in SVG units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from f3s.clock import LIMIT
from f3s.pki.certificates import days_until
from f3s.settings import HostSettings, Job
from f3s.verify.model import ClusterView, Row, State
from f3s.verify.replication import lag
from f3s.verify.serving import masters, state_name

WIDTH = 1040
MARGIN, GAP = 20, 24
CLIENT_HEIGHT, HOST_HEIGHT = 78, 216
CLIENTS_IN_ROW = 5
VIP_WIDTH, VIP_HEIGHT, VIP_SPACE = 380, 58, 64
LANE = 46
"""Height of one replication job's line below the hosts."""


@dataclass(frozen=True)
class Line:
    """A line of text in a box, with its state."""

    state: State
    text: str


@dataclass(frozen=True)
class Box:
    """A host. `badge`: MASTER, BACKUP, ... or empty."""

    x: float
    y: float
    width: float
    height: float
    title: str
    subtitle: str
    badge: str
    state: State
    lines: tuple[Line, ...]

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class Link:
    """A curve; `label` at `label_x`, `label_y` if it has one, `arrow` if data goes one way."""

    path: str
    state: State
    strong: bool = False
    arrow: bool = False
    label: str = ""
    label_x: float = 0
    label_y: float = 0


@dataclass(frozen=True)
class Picture:
    """Everything that is drawn."""

    width: float
    height: float
    vip: Box
    clients: tuple[Box, ...]
    hosts: tuple[Box, ...]
    links: tuple[Link, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        return (*self.clients, self.vip, *self.hosts)


def worst(rows: Sequence[Row]) -> State:
    """Wrong before unknown before right; nothing checked is unknown."""
    states = {row.state for row in rows} or {State.UNKNOWN}
    return next(state for state in (State.WRONG, State.UNKNOWN, State.RIGHT) if state in states)


def picture(cluster: ClusterView, rows: Sequence[Row]) -> Picture:
    """Clients above, the virtual IP in the middle, the FreeBSD hosts below, replication under them."""
    clients = _client_boxes(cluster, rows)
    below_clients = max((box.y + box.height for box in clients), default=float(MARGIN))
    vip = _vip_box(cluster, rows, below_clients + VIP_SPACE)
    hosts = _host_boxes(cluster, rows, vip.y + vip.height + VIP_SPACE)
    bottom = max(box.y + box.height for box in hosts)
    links = [*_mount_links(clients, vip), *_master_links(cluster, vip, hosts, rows)]
    links += [_replication_link(cluster, job, rows, hosts, lane) for lane, job in enumerate(cluster.site.jobs)]
    height = bottom + LANE * len(cluster.site.jobs) + MARGIN
    return Picture(WIDTH, height, vip, clients, hosts, tuple(links))


def _places(count: int, in_row: int) -> list[tuple[float, int, float]]:
    """x, row and width of boxes side by side; the rows are filled evenly."""
    rows = max(1, math.ceil(count / in_row))
    columns = max(1, math.ceil(count / rows))
    width = min(320.0, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns)
    left = (WIDTH - columns * width - (columns - 1) * GAP) / 2
    return [(left + (index % columns) * (width + GAP), index // columns, width) for index in range(count)]


def _of(rows: Sequence[Row], host: str, *starts: str) -> list[Row]:
    return [row for row in rows if row.host == host and (not starts or row.check.startswith(starts))]


def _client_boxes(cluster: ClusterView, rows: Sequence[Row]) -> tuple[Box, ...]:
    boxes = []
    clients = cluster.site.clients
    ends = {finding.name: finding.not_after for finding in cluster.findings or ()}
    for host, (x, row, width) in zip(clients, _places(len(clients), CLIENTS_IN_ROW), strict=True):
        own = _of(rows, host.name)
        lines = []
        for mount in _of(rows, host.name, "mount "):
            said = {State.RIGHT: "read-only" if "read-only" in mount.reason else "writable"}
            path = mount.check.removeprefix("mount ")
            lines.append(Line(mount.state, f"{path} {said.get(mount.state, mount.state.value)}"))
        end = ends.get(host.name)
        certificate = _of(rows, "controller", f"certificate {host.name}")
        if end is not None:
            lines.append(Line(worst(certificate), f"certificate {days_until(end, cluster.now)} days"))
        if not lines:
            lines.append(Line(worst(own), own[0].reason if own else "not asked"))
        y = MARGIN + row * (CLIENT_HEIGHT + GAP)
        shown = tuple(lines[:2])
        boxes.append(Box(x, y, width, CLIENT_HEIGHT, host.short_name, host.lan.address, "", worst(own), shown))
    return tuple(boxes)


def _vip_box(cluster: ClusterView, rows: Sequence[Row], y: float) -> Box:
    primary = cluster.site.primary
    asked = [row for row in rows if row.check == "TLS"]
    served = [view.tls.not_after for view in cluster.hosts.values() if view.tls and view.tls.not_after]
    days = f", certificate {days_until(min(served), cluster.now)} days" if served else ""
    state = worst([*asked, *[row for row in rows if row.check == "one MASTER"]])
    text = f"TLS on port {primary.stunnel.port}{days}"
    x = (WIDTH - VIP_WIDTH) / 2
    title = f"{primary.vip.names[0]}  {primary.vip.address}"
    return Box(x, y, VIP_WIDTH, VIP_HEIGHT, title, "", "", state, (Line(worst(asked), text),))


def _host_boxes(cluster: ClusterView, rows: Sequence[Row], y: float) -> tuple[Box, ...]:
    boxes = []
    hosts = cluster.site.freebsd_hosts
    for host, (x, row, width) in zip(hosts, _places(len(hosts), 3), strict=True):
        own = _of(rows, host.name)
        role = "primary" if host.is_primary else "standby" if host.is_standby else "key holder"
        badge = state_name(cluster.of(host), host) if host.is_storage else ""
        lines = _host_lines(cluster, host, own)
        place = y + row * (HOST_HEIGHT + GAP)
        subtitle = f"{role}, {host.lan.address}"
        boxes.append(Box(x, place, width, HOST_HEIGHT, host.short_name, subtitle, badge, worst(own), lines))
    return tuple(boxes)


def _host_lines(cluster: ClusterView, host: HostSettings, own: Sequence[Row]) -> tuple[Line, ...]:
    if host.name not in cluster.hosts:
        return (Line(worst(own), "no connection" if host.name in cluster.absent else "not asked"),)
    view = cluster.of(host)
    found = {row.check: row.state for row in own}
    held = len(view.stick.keys) if view.stick and view.stick.keys is not None else 0
    pools = " ".join(f"{pool.name} {pool.health}" for pool in (view.pools or {}).values()) or "none"
    texts = {
        "stick": f"stick with {held} of {len(cluster.site.key_names)} keys",
        "pools": f"pools {pools}",
        "keys": "keys loaded" if found.get("keys") is State.RIGHT else "keys",
        "mounts": f"{host.nfs.mountpoint} mounted" if host.is_storage else "nothing to mount",
        "encryption": "all encrypted" if found.get("encryption") is State.RIGHT else "encryption",
        "zrepl": "zrepl runs" if found.get("zrepl") is State.RIGHT else "zrepl",
        "services": "ready to serve" if found.get("services") is State.RIGHT else "services",
    }
    return tuple(Line(found[check], text) for check, text in texts.items() if check in found)


def _curve(x1: float, y1: float, x2: float, y2: float) -> str:
    half = (y1 + y2) / 2
    return f"M{x1:.1f} {y1:.1f} C{x1:.1f} {half:.1f} {x2:.1f} {half:.1f} {x2:.1f} {y2:.1f}"


def _mount_links(clients: Sequence[Box], vip: Box) -> list[Link]:
    return [
        Link(
            _curve(box.middle, box.y + box.height, vip.x + vip.width * (index + 1) / (len(clients) + 1), vip.y),
            box.state,
        )
        for index, box in enumerate(clients)
    ]


def _master_links(cluster: ClusterView, vip: Box, hosts: Sequence[Box], rows: Sequence[Row]) -> list[Link]:
    names = [host.name for host in cluster.site.freebsd_hosts]
    state = worst([row for row in rows if row.check == "one MASTER"])
    return [
        Link(_curve(vip.middle, vip.y + vip.height, box.middle, box.y), state, strong=True)
        for box in (hosts[names.index(master.name)] for master in masters(cluster))
    ]


def _replication_link(cluster: ClusterView, job: Job, rows: Sequence[Row], hosts: Sequence[Box], lane: int) -> Link:
    names = [host.name for host in cluster.site.freebsd_hosts]
    source, target = hosts[names.index(job.source)], hosts[names.index(job.target)]
    found = lag(cluster, job)
    behind = f"{max(found[0], 0)} s behind" if found else "no common snapshot known"
    if found and found[0] < -LIMIT:
        behind = "the clock was set back"
    state = worst([row for row in rows if row.check.startswith(f"replica of {job.name}")])
    shift = 14 * (len(cluster.site.jobs) - lane)  # the lower line is the wider one
    if target.middle < source.middle + 2 * shift:
        shift = -shift
    x1, x2 = source.middle + shift, target.middle - shift
    down = max(source.y + source.height, target.y + target.height) + LANE * (lane + 1) - 14
    start, end = source.y + source.height, target.y + target.height
    bend = 10 if x2 > x1 else -10
    path = (
        f"M{x1:.1f} {start:.1f} V{down - 10:.1f} Q{x1:.1f} {down:.1f} {x1 + bend:.1f} {down:.1f} "
        f"H{x2 - bend:.1f} Q{x2:.1f} {down:.1f} {x2:.1f} {down - 10:.1f} V{end + 4:.1f}"
    )
    label = f"{job.dataset}: {behind}"
    return Link(path, state, arrow=True, label=label, label_x=(x1 + x2) / 2, label_y=down - 7)
