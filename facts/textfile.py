"""A text file of a host, to the byte."""

from __future__ import annotations

from typing_extensions import override

from f3s.devd import CONFIG, FOLDERS, RULE
from f3s.parsing import sections
from f3s.quoting import command
from f3s.textfile import TextFile, parse_text_file
from facts.base import HostFact, marked, script


class TextFileOf(HostFact[TextFile]):
    """A file with mode and owner; not known of a link, a folder or a device. In hex on the way: no byte is lost.

    + path: absolute path
    """

    @override
    def command(self, path: str) -> str:
        said = script("stat-secret", path)
        return marked(command("{} && if [ -e {} ]; then od -An -v -tx1 {}; fi", said, path, path))

    read = staticmethod(parse_text_file)


class DevdRules(HostFact[dict[str, TextFile]]):
    """The files that devd reads and that say anything of CARP, but for the deploy's own; by path."""

    @override
    def command(self) -> str:
        each = (
            'for file in {} {}/*.conf {}/*.conf; do if [ -f "$file" ] && [ "$file" != {} ] && grep -q CARP "$file"; '
            'then echo "=== $file" && {} "$file" && od -An -v -tx1 "$file" || exit; fi; done'
        )
        return marked(command(f"( {each} )", CONFIG, *FOLDERS, RULE, script("stat-secret")))

    @override
    def read(self, lines: list[str]) -> dict[str, TextFile]:
        return {path: parse_text_file(text) for path, text in sections(lines).items()}
