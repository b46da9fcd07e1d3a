"""A page in the browser that restores blurred images.

    pip install -r requirements-demo.txt
    python codes/demo.py

Upload a blurry image, or choose an example; describe or load its kernel; compare before and after under a
slider. The page is for this machine only (127.0.0.1), and nothing leaves it.
"""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports ends without a traceback

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import torch

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
from codes.models.noise import estimate_noise
from codes.restoration.call import open_restorer, restore
from codes.restoration.image_files import read_photo
from codes.restoration.kernel_spec import SPECIFICATIONS, parse_specification
from codes.restoration.networks import SHIPPED
from codes.restoration.pixels import pixels_to_values
from codes.utils.arguments import positive
from codes.utils.errors import UserError, in_one_line, run_command_line

HOST = "127.0.0.1"
UPLOAD_LIMIT = "32mb"
IMAGES = [".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"]
KERNELS = [".png", ".tif", ".tiff", ".npy", ".mat"]


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
    # For a request with wrong arguments, Gradio prints a traceback.
    gradio.queueing.traceback = SimpleNamespace(print_exc=print_error)
    try:
        _, address, _ = blocks.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
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
        if not all(urlsplit(url).hostname in (HOST, "localhost") for url in urls):
            await PlainTextResponse(f"this page is for http://{HOST} only", 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def page(restorer: Restorer) -> gradio.Blocks:
    """The page, whose button restores with `restorer`."""
    ensure_quickstart(QUICKSTART)
    images = sorted((QUICKSTART / "Noise_01").glob("*.png"))
    examples = [[str(path), str(QUICKSTART / "Kernel" / path.name)] for path in images]

    def run(image: str | None, specification: str, file: str | None) -> tuple:
        try:
            return restore_for_page(restorer, image, kernel_from(specification, file))
        except UserError as error:
            raise gradio.Error(in_one_line(error), print_exception=False) from None

    with gradio.Blocks(title="DSDNet: deblur an image", analytics_enabled=False) as blocks:
        gradio.Markdown("## Deblur an image whose kernel is known")
        with gradio.Row():
            image = gradio.File(label="Blurry image", file_types=IMAGES)
            with gradio.Column():
                specification = gradio.Textbox("motion:15,30", label=f"Kernel: {SPECIFICATIONS}")
                file = gradio.File(label="Kernel file, used instead", file_types=KERNELS)
        button = gradio.Button("Restore", variant="primary")
        slider = gradio.ImageSlider(label="Before | after", format="png", interactive=False)
        with gradio.Row():
            shown = gradio.Image(label="Kernel", format="png", height=200, interactive=False)
            notes = gradio.Markdown()
        gradio.Examples(examples, [image, file], label="Examples")
        button.click(run, [image, specification, file], [slider, shown, notes], concurrency_limit=1)
    return blocks


def kernel_from(specification: str, file: str | None) -> np.ndarray:
    """The kernel (h, w) or (h, w, 3) of the page's fields: that of the file, if there is one."""
    if file is not None:
        return read_kernel(file, per_channel=True)
    return parse_specification(str(specification))  # never a file of this machine


def restore_for_page(
    restorer: Restorer, path: str | None, kernel: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, str]:
    """Before and after, the enlarged kernel, and notes, as the page shows them."""
    if path is None:
        raise UserError("image: choose one first, or an example")
    pixels = read_photo(path).pixels
    outcome = restore(restorer, pixels, kernel, where=Path(path).name)
    before, _, white, _ = pixels_to_values(pixels)
    after = pixels_to_values(outcome.pixels, white=white).colours
    noise = float(estimate_noise(torch.from_numpy(before).permute(2, 0, 1)[None]))
    times = max(1, 200 // max(outcome.kernel.shape))
    kernel = (outcome.kernel / outcome.kernel.max()).repeat(times, 0).repeat(times, 1)
    size = f"kernel {outcome.kernel.shape[0]}x{outcome.kernel.shape[1]}"
    notes = "\n".join(f"- {line}" for line in (f"noise about {100 * noise:.1f} %", size, *outcome.notes))
    return (displayed(before), displayed(after)), displayed(kernel.reshape(*kernel.shape[:2], -1)), notes


def displayed(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 1 or 3) from 0 to 1 as (H, W, 3) uint8."""
    return np.ascontiguousarray(as_rgb(to_8bit(image)))


if __name__ == "__main__":
    sys.exit(run_command_line(main))
