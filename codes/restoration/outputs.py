"""Where results are written: never over an input."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from codes.data.images import IMAGE_SUFFIXES, list_images
from codes.utils.errors import UserError


def output_paths(source: Path, output: Path) -> dict[Path, Path]:
    """Each image of `source`, a file or a folder, and where its result is written.

    That is `output` itself if it has an image's suffix, else a file in the folder `output` with the input's name.
    Raises UserError for an output that can be neither, a missing input, and a folder without images.
    """
    if output.name.lower() in IMAGE_SUFFIXES:
        raise UserError(f"--output {output}: the name before {output.name} is missing")
    to_file = output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir()
    if source.is_dir():
        if to_file:
            raise UserError(f"--output {output}: a folder is needed for the images of a folder")
        return {path: output / path.name for path in list_images(source)}
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    if to_file:
        return {source: output}
    if output.suffix and not output.is_dir():
        raise UserError(f"--output {output}: an image of type {', '.join(IMAGE_SUFFIXES)}, or a folder, is possible")
    return {source: output / (source.name if source.suffix.lower() in IMAGE_SUFFIXES else f"{source.stem}.png")}


def compare_path(target: Path) -> Path:
    """The before/after sheet that belongs to a result."""
    return target.with_name(f"{target.stem}_compare.png")


def stage_path(target: Path, stage: int) -> Path:
    """The image of a stage (0: x0) that belongs to a result."""
    return target.with_name(f"{target.stem}_{f'stage{stage}' if stage else 'x0'}{target.suffix}")


def refuse_conflicts(written: Sequence[Path], inputs: Iterable[Path]) -> None:
    """Raise UserError if a file would be written twice or is an input, under any name or link."""
    existing = [path for path in inputs if path.exists()]
    for target, count in Counter(written).items():
        if target.exists() and any(target.samefile(path) for path in existing):
            raise UserError(f"{target}: is an input, which is not overwritten; choose another --output")
        if count > 1:
            raise UserError(f"{target}: would be written for two of the images; rename one of them")


def check_folders(written: Iterable[Path]) -> None:
    """Raise UserError if the folder of a file cannot be made or written, before the work begins."""
    for folder in sorted({path.parent for path in written}):
        existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        try:
            with tempfile.TemporaryFile(dir=existing):
                pass
        except OSError as error:
            raise UserError(f"{existing}: cannot be written ({error.strerror}); choose another --output") from None
