"""MobileNet (Howard et al. 2017) and its training in idiomatic PyTorch, for comparison in `throughput`."""

import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from joblib import cpu_count
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

# Output channels (at alpha 1) and stride of the thirteen pairs of a depthwise and a pointwise convolution.
PAIRS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
PREDICTION_BATCH = 128
STEPS = 30


class Pictures(Dataset):
    """JPEG files in one folder per class, cropped to their centre square, resized, and mirrored half of the time."""

    def __init__(self, folder: Path, side: int):
        self.files = sorted(folder.glob("*/*"))
        self.names, self.side = sorted({file.parent.name for file in self.files}), side

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.files[index]) as picture:
            picture.draft("RGB", (self.side, self.side))
            width, height = picture.size
            edge = min(width, height)
            box = ((width - edge) // 2, (height - edge) // 2, (width + edge) // 2, (height + edge) // 2)
            pixels = np.asarray(picture.convert("RGB").resize((self.side, self.side), Image.BILINEAR, box))
        pixels = pixels[:, ::-1] if torch.rand(()) < 0.5 else pixels
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))), self.names.index(
            self.files[index].parent.name
        )


class MobileNet(nn.Sequential):
    """Takes uint8 [n, 3, side, side], gives logits [n, classes]."""

    def __init__(self, alpha: float, classes: int):
        def block(inside, outside, size, *, stride, groups=1):
            convolution = nn.Conv2d(inside, outside, size, stride, size // 2, groups=groups, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU6())

        width = int(32 * alpha)
        parts = [block(3, width, 3, stride=2)]
        for channels, stride in PAIRS:
            channels = int(channels * alpha)
            parts += [block(width, width, 3, stride=stride, groups=width), block(width, channels, 1, stride=1)]
            width = channels
        super().__init__(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last))


class Trained:
    """The network, its optimizer and its two steps, compiled if there is a GPU."""

    def __init__(self, alpha: float, classes: int, precision: str):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = MobileNet(alpha, classes).to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-3, fused=True)
        self.half = torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "mixed_bfloat16")
        self.forward = torch.compile(self.network) if self.device.type == "cuda" else self.network

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.network.train()
        with self.half:
            loss = nn.functional.cross_entropy(self.forward(images), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss

    @torch.no_grad()
    def predict(self, images: torch.Tensor, _labels: torch.Tensor) -> torch.Tensor:
        self.network.eval()
        with self.half:
            return self.forward(images).softmax(1)

    def over(self, batches: Iterable, step: Callable) -> float:
        """Images per second of a step over batches, from the request for the first batch to the end of the last."""
        images, started = 0, time.perf_counter()
        for pixels, labels in batches:
            out = step(pixels.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True))
            images += len(labels)
        out.sum().item()  # waits for the device
        return images / (time.perf_counter() - started)


def torch_speeds(folder: Path, *, side: int, alpha: float, batch: int, precision: str) -> dict[str, tuple]:
    """For `PyTorch` and `PyTorch, one batch`: functions that measure training and prediction in images per second."""
    data = Pictures(folder, side)
    trained = Trained(alpha, len(data.names), precision)
    options = {"num_workers": cpu_count(), "persistent_workers": True, "pin_memory": trained.device.type == "cuda"}
    # Not fork, since this process runs threads of another library.
    options |= {"shuffle": True, "drop_last": True, "multiprocessing_context": "forkserver"}
    loaders = [DataLoader(data, size, **options) for size in (batch, PREDICTION_BATCH)]
    steps = trained.step, trained.predict

    def resident(size: int) -> list:
        pixels = torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8, device=trained.device)
        return [(pixels, torch.zeros(size, dtype=torch.long, device=trained.device))] * STEPS

    def measured(batches: Iterable, step: Callable) -> Callable[[], float]:
        trained.over(islice(batches, 2), step)  # compiles, and starts the loader's processes
        return lambda: trained.over(batches, step)

    return {
        "PyTorch": tuple(measured(loader, step) for loader, step in zip(loaders, steps, strict=True)),
        "PyTorch, one batch": tuple(
            measured(resident(size), step) for size, step in zip((batch, PREDICTION_BATCH), steps, strict=True)
        ),
    }
