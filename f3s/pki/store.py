"""The folder with the secrets: closed to others from the first byte, whole files only, one writer at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from f3s.pki.plan import PkiError


class Store:
    """Files of one folder, by name.

    :param folder: made 0700 when it is missing; the folder above has to be there
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._locked = False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder if need be and keep other writers out; the lock goes with its process, however that ends.

        :raises PkiError: others than its owner can enter the folder
        """
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.folder, 0o700)
        self.check()
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._locked = True
            yield
        finally:
            self._locked = False
            os.close(descriptor)

    def check(self) -> None:
        """
        :raises PkiError: the folder is missing, somebody else's, a link, or open to others
        """
        try:
            found = os.lstat(self.folder)
        except FileNotFoundError:
            raise PkiError(
                f"{self.folder} is missing. Where hosts have certificates already, bring your copy of it: a new CA "
                "locks out all who do not get its certificates. For a new site 'python certificates.py init' makes it"
            ) from None
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PkiError(f"{self.folder} has to be a folder of your own, not a link or someone else's")
        if found.st_mode & 0o077:
            raise PkiError(f"{self.folder} is open to others: find out who read it, then chmod 700 it")

    def names(self) -> list[str]:
        """The names of all whole files."""
        return sorted(path.name for path in self.folder.iterdir() if not path.name.endswith(".new"))

    def read(self, name: str) -> bytes | None:
        """A file's content, None when there is no such file.

        :raises PkiError: others could read or write it
        """
        try:
            descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            if os.fstat(descriptor).st_mode & 0o077:
                raise PkiError(f"{self.folder / name} is open to others: find out who read it, then chmod 600 it")
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Replace a file in one step; after a crash it is the old one or the new one."""
        if not self._locked:
            raise AssertionError("a store is written to under its lock only")
        path, new = self.folder / name, self.folder / f"{name}.new"
        new.unlink(missing_ok=True)  # of a run that was killed here
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(new, path)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
