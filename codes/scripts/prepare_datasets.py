"""Build the folders under Datasets/ from raw images and kernels, or from the authors' download.

    python codes/scripts/prepare_datasets.py --source DIR

DIR is your own folder with the parts that you have of BSDS500/{train,test,val}, Levin/im1..4.png, Levin09.mat,
Set5/ and Lai/{GT,BL,Kernel}, or with the authors' unzipped CBSD100/, Levin/, Set5/ and Lai/, which are
copied as they are. The command names what is missing and where it is published. Without --source only
the embedded set is made.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from codes.data import preparation as prep
from codes.utils.errors import UserError, run_command_line
from codes.utils.files import PUBLISHED, ROOT, read_csv, write_csv

PUBLISHED_MANIFEST = PUBLISHED / "dataset_manifest.csv"

ORIGINS = {
    "BSDS500": "the Berkeley Segmentation Data Set BSDS500 (Arbelaez et al. 2011, UC Berkeley vision group)",
    "Levin": "the data of 'Understanding and evaluating blind deconvolution algorithms' (Levin et al. 2009)",
    "Levin09.mat": "Levin09.mat (Levin et al. 2009), which is part of the code of IRCNN, DPIR and USRNet",
    "Set5": "Set5 (Bevilacqua et al. 2012), which is part of most super-resolution codes",
    "Lai": "the data of 'A Comparative Study for Single Image Blind Deblurring' (Lai et al. 2016)",
}


# For each set below Datasets/: what it needs of the source, and what it is made of: sharp images with kernels to
# blur them, or files to copy.
BUILDERS: dict[str, tuple[Sequence[str], Callable[[Path], list[prep.Sharp] | prep.Copies]]] = {
    "CBSD100": (("BSDS500/val", "Levin09.mat"), prep.cbsd100),
    "Levin": (("Levin", "Levin09.mat"), prep.levin),
    "LevinIndependent": (("Levin/im1.png", "Levin09.mat"), prep.levin_independent),
    "Set5": (("Set5", "Levin09.mat"), prep.set5),
    "Lai": (("Lai/GT", "Lai/BL", "Lai/Kernel"), prep.lai_files),
    "Train": (("BSDS500/train", "BSDS500/test"), prep.training_files),
    "Validation": (("BSDS500/train", "BSDS500/test"), prep.validation),
    "ValidationGrey": (("BSDS500/train", "BSDS500/test"), prep.validation_grey),
    prep.JPEG_SET: (("BSDS500/train", "BSDS500/test"), prep.validation),
}


def build_set(name: str, source: Path, target: Path) -> list[str]:
    """Build one set; returns what is missing in the source (then nothing is built)."""
    needs, content = BUILDERS[name]
    finished = prep.finished_files(source / name)
    missing = [need for need in needs if not (source / need).exists()]
    if missing and not finished:
        return missing
    parts = finished or content(source)
    with prep.replaced_when_complete(target) as folder:
        if isinstance(parts, dict):
            prep.copy_files(folder, parts)
        elif name == prep.JPEG_SET:
            prep.synthesise_jpeg(folder, parts)
        else:
            prep.synthesise(folder, parts, name)
    return []


def write_manifest(datasets: Path) -> list[dict[str, object]]:
    """Write manifest.csv for all sets in a folder; returns one digest per subfolder."""
    names = [name for name in (*BUILDERS, "Quickstart") if (datasets / name).is_dir()]
    rows = [row for name in tqdm(names, desc="manifest", unit="set") for row in prep.manifest(datasets / name)]
    write_csv(datasets / "manifest.csv", rows, ("file", "sha256"))
    return prep.folder_digests(rows)


def compare_with_published(digests: Sequence[dict[str, object]]) -> None:
    """Print whether the pixels are the ones that the published results were measured on."""
    published = {row["folder"]: row["sha256"] for row in read_csv(PUBLISHED_MANIFEST)}
    unknown = [row["folder"] for row in digests if row["folder"] not in published]
    differing = [row["folder"] for row in digests if published.get(row["folder"], row["sha256"]) != row["sha256"]]
    same = len(digests) - len(unknown) - len(differing)
    print(f"{same} of {len(digests)} folders have the pixels of {PUBLISHED_MANIFEST.relative_to(ROOT)}")
    if differing:
        print(f"different from the published results: {', '.join(differing)}")
    if unknown:
        print(f"not part of the published results: {', '.join(unknown)}")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder of the raw images and kernels")
    parser.add_argument("--target", type=Path, default=ROOT / "Datasets", help="default: Datasets")
    parser.add_argument("--sets", nargs="+", choices=BUILDERS, default=list(BUILDERS), help="default: all")
    parser.add_argument("--force", action="store_true", help="build sets again that exist already")
    parser.add_argument("--publish-manifest", action="store_true", help=f"write {PUBLISHED_MANIFEST.name}")
    arguments = parser.parse_args(argv)
    prep.ensure_quickstart(arguments.target / "Quickstart")
    lacking = set()
    if arguments.source is not None:
        if not arguments.source.is_dir():
            raise UserError(f"{arguments.source}: no such folder; --source is your folder of raw images and kernels")
        for name in arguments.sets:
            target = (arguments.target / name).resolve()
            if target.is_dir() and not arguments.force:
                print(f"{name}: {target} exists already (--force builds it again)")
                continue
            for need in build_set(name, arguments.source, target):
                origin = ORIGINS[need.split("/")[0]]
                print(f"{name}: not built, {arguments.source / need} is missing: download {origin}")
                lacking.add(name)
    digests = write_manifest(arguments.target)
    if arguments.publish_manifest:
        write_csv(PUBLISHED_MANIFEST, digests, ("folder", "files", "sha256"))
    compare_with_published(digests)
    if lacking == set(arguments.sets):
        raise UserError(f"none of the sets was built, because {arguments.source} lacks files (see above)")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
