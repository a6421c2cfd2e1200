"""A small disk that can be full for a while."""

import subprocess
from pathlib import Path

SIZE_MB = 64
BALLAST = "ballast"


class SmallDisk:
    """A file system of its own at a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(folder)], check=True)

    def fill(self) -> None:
        """Not a byte is left from now on."""
        with (self.folder / BALLAST).open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * (1 << 20))
            except OSError:
                pass

    def clear(self) -> None:
        (self.folder / BALLAST).unlink(missing_ok=True)

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]

    def close(self) -> None:
        subprocess.run(["umount", str(self.folder)], check=True)
