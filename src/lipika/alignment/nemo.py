"""NeMo's front end at inference, as torch runs it: no dither, no padding to a multiple. Needs torch."""

from __future__ import annotations

import torch

from lipika.alignment import frontend
from lipika.alignment.frontend import Variant


class Preprocessor(torch.nn.Module):  # type: ignore[misc]  # torch is not there for everyone
    """(input_signal (clips, samples), length (clips,)) -> (features (clips, 80, frames), frames (clips,))."""

    def __init__(self, variant: Variant, mel_filters: torch.Tensor | None = None) -> None:
        super().__init__()
        self.pad_mode: str = "reflect" if variant.reflect else "constant"
        self.extra: int = int(variant.partial_frame)
        if mel_filters is None:
            mel_filters = torch.from_numpy(frontend.filters())
        self.register_buffer("window", torch.hann_window(400, periodic=False))
        self.register_buffer("fb", mel_filters)

    def forward(self, input_signal: torch.Tensor, length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frames = torch.div(length, 160, rounding_mode="floor") + self.extra
        x = torch.cat([input_signal[:, :1], input_signal[:, 1:] - 0.97 * input_signal[:, :-1]], dim=1)
        x = torch.stft(
            x, 512, 160, 400, self.window, center=True, pad_mode=self.pad_mode, return_complex=True
        )
        x = torch.view_as_real(x).pow(2).sum(-1)
        x = torch.log(torch.matmul(self.fb, x) + 2.0**-24)
        valid = torch.arange(x.size(2), device=x.device)[None] < frames[:, None]
        mask = valid[:, None].to(x.dtype)
        count = frames[:, None, None].to(x.dtype)
        mean = (x * mask).sum(2, keepdim=True) / count
        spread = torch.sqrt((((x - mean) * mask) ** 2).sum(2, keepdim=True) / (count - 1.0)) + 1e-5
        return (x - mean) / spread * mask, frames
