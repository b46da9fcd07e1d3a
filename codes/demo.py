"""A page in the browser that restores blurred images.

    pip install -r requirements-demo.txt
    python codes/demo.py

Upload a blurry image, or choose an example; describe, load or measure its kernel; compare before and after under
a slider. The page is for this machine only (127.0.0.1), and nothing leaves it.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends without a traceback

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np

try:
    import gradio
    from starlette.datastructures import Headers
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.types import ASGIApp, Receive, Scope, Send
except ImportError:
    sys.exit("error: the page needs Gradio: pip install -r requirements-demo.txt")

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from codes.data.images import as_rgb, to_8bit
from codes.data.kernels import read_kernel
from codes.data.preparation import QUICKSTART, ensure_quickstart
from codes.inference.restorer import Restorer
from codes.restoration.call import ORIENTATIONS, open_restorer, restore
from codes.restoration.gamma import GAMMAS
from codes.restoration.image_files import read_photo
from codes.restoration.kernel_estimation import KERNEL_FORMATS, from_pair, from_point, preview, write_kernel_file
from codes.restoration.kernel_spec import SPECIFICATIONS, parse_specification
from codes.restoration.masks import read_mask
from codes.restoration.networks import SHIPPED
from codes.restoration.pixels import pixels_to_values
from codes.utils.arguments import positive
from codes.utils.errors import UserError, in_one_line, run_command_line

HOST = "127.0.0.1"
UPLOAD_LIMIT = "32mb"
IMAGES = [".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=positive, help="default: the first free one from 7860 on")
    parser.add_argument("--weights", default=SHIPPED, metavar="NAME|FILE|FOLDER", help=f"default: {SHIPPED}")
    parser.add_argument("--preset", help="the network of a weight file that has no card")
    parser.add_argument("--device", metavar="cpu|cuda|cuda:N", help="default: a GPU if there is one")
    arguments = parser.parse_args(argv)
    blocks = page(open_restorer(arguments.weights, arguments.preset, arguments.device, tile="auto"))
    print(f"{serve(blocks, arguments.port)} (Ctrl-C ends it)", flush=True)
    blocks.block_thread()
    return 0


def serve(blocks: gradio.Blocks, port: int | None) -> str:
    """Show the page; returns its address."""
    # For every error, which the page shows, Gradio prints a traceback.
    gradio.queueing.traceback = SimpleNamespace(print_exc=print_error)
    try:
        _, address, _ = blocks.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            show_error=True,
            max_file_size=UPLOAD_LIMIT,
            allowed_paths=[str(QUICKSTART)],
            prevent_thread_lock=True,
            ssr_mode=False,
            footer_links=[],
            app_kwargs={"middleware": [Middleware(OnlyThisMachine)]},
        )
    except OSError as error:
        raise UserError(f"--port {port}: the page cannot be served there ({error})") from None
    return address


def print_error() -> None:
    """Print the error that is being handled as one line."""
    print(f"error: {in_one_line(sys.exception())}", file=sys.stderr, flush=True)


class OnlyThisMachine:
    """Refuses requests for another host name or from another web site, which reach this machine by DNS rebinding."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] in ("http", "websocket") else {"host": HOST}
        urls = [f"//{headers.get('host', '')}", *([headers["origin"]] if "origin" in headers else [])]
        try:
            allowed = all(urlsplit(url).hostname in (HOST, "localhost") for url in urls)
        except ValueError:  # not the form of a host name
            allowed = False
        if not allowed:
            await PlainTextResponse(f"this page is for http://{HOST} only", 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def page(restorer: Restorer) -> gradio.Blocks:
    """The page, whose button restores with `restorer`."""
    ensure_quickstart(QUICKSTART)
    images = sorted((QUICKSTART / "Noise_01").glob("*.png"))
    examples = [[str(path), str(QUICKSTART / "Kernel" / path.name)] for path in images]

    with gradio.Blocks(title="DSDNet: deblur an image", analytics_enabled=False) as blocks:
        gradio.Markdown("## Deblur an image whose kernel is known or can be measured")
        with gradio.Row():
            with gradio.Column():
                image = gradio.File(label="Blurry image", file_types=IMAGES, height=160)
                photo = gradio.Image(label="Preview", format="jpeg", height=240, interactive=False)
            with gradio.Column():
                with gradio.Tab("Kernel"):
                    specification = gradio.Textbox("motion:15,30", label=f"Kernel: {SPECIFICATIONS}")
                    file = gradio.File(label="Kernel file, used instead", file_types=list(KERNEL_FORMATS), height=160)
                with gradio.Tab("Measure the kernel"):
                    sharp = gradio.File(label="From a sharp picture of the same scene", file_types=IMAGES, height=160)
                    gradio.Markdown("Or from a point of light: click on it in the preview, and give the kernel's side.")
                    with gradio.Row():
                        x, y, side = (gradio.Number(0, label=label, precision=0) for label in ("X", "Y", "Side"))
                    measure = gradio.Button("Measure")
                with gradio.Accordion("Settings", open=False):
                    orientation = gradio.Radio(ORIENTATIONS, value="auto", label="Orientation of the kernel")
                    noise = gradio.Textbox("auto", label="Noise: auto, or percent of full scale")
                    gamma = gradio.Radio(GAMMAS, value="auto", label="Gamma (srgb and 2.2: linear light)")
                    clipped = gradio.Checkbox(label="Mask clipped highlights")
                    mask = gradio.File(label="Mask file, used instead; white is valid", file_types=IMAGES, height=160)
        button = gradio.Button("Restore", variant="primary")
        slider = gradio.ImageSlider(label="Before | after", format="png", interactive=False)
        with gradio.Row():
            shown = gradio.Image(label="Kernel as used", format="png", height=200, interactive=False)
            notes = gradio.Markdown()
        table = gradio.Dataset(components=["image", "image"], samples=examples, headers=["Example", "Kernel"])

        image.change(preview_of, image, photo)
        photo.select(clicked_point, None, [x, y])
        measure.click(measured, [image, sharp, x, y, side], [file, orientation, shown, notes])
        table.click(lambda example: [*example, "auto"], table, [image, file, orientation])
        fields = [image, specification, file, orientation, noise, gamma, clipped, mask]
        button.click(partial(restored, restorer), fields, [slider, shown, notes], concurrency_limit=1, api_name="run")
    return blocks


def preview_of(path: str | None) -> np.ndarray | None:
    return None if path is None else to_8bit(as_rgb(pixels_to_values(pixels_of(path)).colours))


def clicked_point(event: gradio.SelectData) -> list[int]:
    """Column and row of a click on the preview, in pixels. Gradio is wrong for images smaller than the preview."""
    return event.index


def measured(path: str | None, sharp: str | None, *point: int | None) -> tuple[str, str, np.ndarray, str]:
    """A file with the kernel of a pair, or of a point (column, row, side); its orientation, picture, and notes."""
    pixels = pixels_of(path)
    if sharp is not None:
        estimate, whole = from_pair(pixels_of(sharp), pixels), "blurred picture's variance"
    else:
        estimate, whole = from_point(pixels, *(number or 0 for number in point)), "light around the point"
    target = Path(path).with_name("measured_kernel.png")  # next to the upload, in Gradio's cache
    write_kernel_file(target, estimate.kernel)
    notes = [f"this kernel explains {estimate.explained:.1%} of the {whole}", *estimate.warnings]
    return str(target), "as-is", preview(estimate.kernel).squeeze(), "\n\n".join(notes)


def kernel_from(specification: str, file: str | None) -> np.ndarray:
    """The kernel (h, w) or (h, w, 3) of the page's file, if there is one; the text never names a file."""
    return parse_specification(str(specification)) if file is None else read_kernel(file, per_channel=True)


def restored(restorer: Restorer, path: str | None, specification: str, file: str | None, *settings: object) -> tuple:
    """Before and after, the kernel's picture, and notes. settings: those of the page, in its order."""
    orientation, noise, gamma, clipped, mask = settings
    pixels, kernel = pixels_of(path), kernel_from(specification, file)
    mask = read_mask(mask) if mask is not None else "auto" if clipped else None
    with suppress(TypeError, ValueError):  # `restore` refuses text other than "auto"
        noise = float(noise)
    start = time.perf_counter()
    outcome = restore(restorer, pixels, kernel, orientation, mask, where=Path(path).name, noise=noise, gamma=gamma)
    size = "x".join(map(str, outcome.kernel.shape[:2]))
    notes = [f"{time.perf_counter() - start:.1f} seconds", f"kernel {size}", *outcome.notes]
    before, _, white, _ = pixels_to_values(pixels)
    pair = before, pixels_to_values(outcome.pixels, white=white).colours
    return tuple(to_8bit(as_rgb(image)) for image in pair), preview(outcome.kernel).squeeze(), "\n\n".join(notes)


def pixels_of(path: str | None) -> np.ndarray:
    if path is None:
        raise UserError("image: choose one first, or an example")
    return read_photo(path).pixels


if __name__ == "__main__":
    sys.exit(run_command_line(main))
