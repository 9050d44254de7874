"""Problems of a recipe, each at its place: a line of the file, or the option that put the value there."""

from __future__ import annotations

from limbeck.recipes.text import Document, Path


class Problems:
    """Collects problems with their places."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.lines: list[tuple[int, str]] = [(line, f"line {line}: {text}") for line, text in document.problems]
        self.overlays: list[Path] = []
        """Places of the overlays that were laid over the stages, the topmost last."""
        self.options: dict[Path, str] = {}
        """Place -> the `--set` that put a value there."""

    def add(self, path: Path, message: str) -> None:
        """Note a problem at a place."""
        if path[:1] in (("--set",), ("--variant",)):
            self.lines.append((0, f"{path[0]} {path[1]}: {message}"))
            return
        option = self._option(path, message)
        if option is not None:
            self.lines.append((0, f"{option}: {message}"))
            return
        line = self._document.line(self._origin(path))
        dotted = ".".join(str(part) for part in path) or "recipe"
        place = f" (line {line})" if line is not None else ""
        self.lines.append((line or 0, f"{dotted}{place}: {message}"))

    def _origin(self, path: Path) -> Path:
        """Where a value stands in the file: in the topmost overlay that has it, else among the stages."""
        if path[:1] == ("stages",):
            for overlay in reversed(self.overlays):
                if (*overlay, *path[1:]) in self._document.lines:
                    return (*overlay, *path[1:])
        return path

    def _option(self, path: Path, message: str) -> str | None:
        """The option that is to blame: it set the value, what is around it, or the setting that is mentioned."""
        for place, option in self.options.items():
            if path[: len(place)] == place or (place[: len(path)] == path and f"'{place[-1]}'" in message):
                return option
        return None
