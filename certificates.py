"""The site's private CA: make, look at, renew and revoke its certificates, and make the CARP password.

    python certificates.py init

Exit status: 0 all is well, 1 something needs attention or went wrong, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime

from pyinfra.api.exceptions import InventoryError

from bridge.settings import load_site, secrets_folder
from f3s.pki.certificates import Finding, State, days_until
from f3s.pki.manage import Pki, utc_now
from f3s.pki.plan import PkiError, plan_for
from f3s.pki.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python certificates.py", description="The site's private CA.")
    parser.add_argument("--inventory", default="inventory.py", help="whose hosts get certificates")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init", help="make what is missing, renew what is near its end; safe to repeat")
    commands.add_parser("status", help="what there is, with the days left; exit status 1 if not all is good")
    renew = commands.add_parser("renew", help="make a new certificate or CA now; the one before stays valid")
    renew.add_argument("name", help="ca, server, or a client")
    revoke = commands.add_parser("revoke", help="let no certificate of this name in any more")
    revoke.add_argument("name", help="a client, also one that is no longer in the inventory")
    commands.add_parser("use-new-ca", help="after 'renew ca': the new CA signs, and every certificate is made anew")
    commands.add_parser("drop-old-ca", help="after 'use-new-ca': the old CA is trusted no more")
    options = parser.parse_args(arguments)

    try:
        site = load_site(options.inventory)
        pki = Pki(Store(secrets_folder(site)), plan_for(site), utc_now())
        if options.command == "status":
            return _show(pki.status(), pki.now)
        if options.command == "init":
            print("\n".join(pki.init() or ["nothing to do"]))
            return _show(pki.status(), pki.now)
        if options.command == "use-new-ca":
            print(pki.use_new_ca())
        elif options.command == "drop-old-ca":
            print(pki.drop_old_ca())
        else:
            print(pki.renew(options.name) if options.command == "renew" else pki.revoke(options.name))
        return 0
    except (PkiError, InventoryError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def _show(findings: Sequence[Finding], now: datetime) -> int:
    rows = [("NAME", "STATE", "UNTIL", "DAYS", "")]
    for finding in findings:
        until = f"{finding.not_after:%Y-%m-%d}" if finding.not_after else "-"
        left = str(days_until(finding.not_after, now)) if finding.not_after else "-"
        rows.append((finding.name, finding.state.value, until, left, finding.detail))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[4]]).rstrip())
    return 0 if all(finding.state is State.GOOD for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
