"""What stages of real hosts have in common: wall-clock time, and how a client's probe is started and ended."""

from __future__ import annotations

import time

from scenarios.stage import PROBE, PROBE_PLACE, Report, Stage, StageError

PROBE_SECONDS = 60
"""What the probe may take to begin and to end; starting Python takes seconds on a machine without KVM."""

LOGGED = (
    "grep -e f3s_storage -e carp: -e 'kernel: pid ' /var/log/messages | tail -n 20;"
    " head -n 20 /var/run/f3s-said-by-* 2>/dev/null"
)


class RealStage(Stage):
    """Hosts that a shell line reaches through `run`."""

    def keep(self) -> str:
        """What both storage hosts logged of roles and killed processes; machines are put back after a story."""
        return "".join(
            f"\n{host}:\n{self.run(host, LOGGED).output}"
            for host in (self.cast.primary, self.cast.standby)
            if self.is_up(host)
        )

    def now(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def start_probe(self, client: str) -> None:
        program = PROBE.read_text()
        assert "\nEND\n" not in program
        self._must(
            client,
            f"rm -rf {PROBE_PLACE} && mkdir -p {PROBE_PLACE} && cat >{PROBE_PLACE}/probe.py <<'END'\n{program}\nEND\n",
        )
        line = f"nohup python3 {self._probe('run')} >{PROBE_PLACE}/said 2>&1 </dev/null &"
        self._must(client, f"{line} {self._waits('pid')}")

    def stop_probe(self, client: str) -> Report:
        self._must(client, f"kill $(cat {PROBE_PLACE}/pid); {self._waits('report.json')}")
        self._must(client, f"timeout {PROBE_SECONDS} python3 {self._probe('check')}")
        report = Report.parse(self._must(client, f"cat {PROBE_PLACE}/report.json"))
        self._must(client, f"rm -f {self.cast.mountpoint}/.f3s-probe-$(hostname -s).*; rm -rf {PROBE_PLACE}")
        return report

    def _probe(self, verb: str) -> str:
        return f"{PROBE_PLACE}/probe.py {verb} --folder {self.cast.mountpoint} --state {PROBE_PLACE}"

    @staticmethod
    def _waits(file: str) -> str:
        ready = f"[ -s {PROBE_PLACE}/{file} ]"
        ends = f"{ready} || [ $i = {PROBE_SECONDS} ]"
        return f"i=0; until {ends}; do sleep 1; i=$((i+1)); done; {ready} || {{ cat {PROBE_PLACE}/said; exit 1; }}"

    def _must(self, host: str, script: str) -> str:
        done = self.run(host, script, timeout=3 * PROBE_SECONDS)
        if done.rc != 0:
            raise StageError(f"on {host}: {script.splitlines()[0]}: exit status {done.rc}\n{done.output}")
        return done.output
