r"""Train a network that ships on what a teacher believes, and on the truth.

    python -m tools.distill --teacher runs/TEACHER --photos PHOTOS.tar [MORE.tar ...] --validate VAL.tar --run runs/NAME \
        [--size-of tiny] [--begin runs/EARLIER]

The teacher, a run of ``tools.train --role teacher`` or of a network that ships, is shown what the student is shown, however
worn and hinted at, and the student is to believe the same: what a teacher would answer is worth learning of any picture
(Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent"). Where asking it at every step takes too
long, ``tools.beliefs`` asks it once of every photograph, clean and whole; where hints are given, of which it then knows
nothing, the truth alone counts. Otherwise as ``tools.train``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import torch
from torch import Tensor, nn

from tools.beliefs import read_beliefs
from tools.data import Batch
from tools.losses import colors_believed, colors_of, distance, shown_ab, true_colors
from tools.teacher import read_believer
from tools.train import Run, answer, fit, options_parser, read_data, some_cells, student, together


class Distillation:
    """The losses of a student, and what they need."""

    def __init__(self, teacher: nn.Module, trust: float, shown: float = 0.0) -> None:
        """Trust: the teacher's share beside the truth's. Shown: weight of the colour that is shown."""
        self.teacher, self.trust, self.shown = teacher, trust, shown

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """As ``Losses``."""
        logits, sure = answer(net, batch.planes)
        planes = [logits, sure, batch.target[:, 1:]]
        if batch.belief is None:
            with torch.no_grad():
                planes.append(answer(self.teacher, batch.planes)[0])
        logits, sure, target, *asked = some_cells(*planes)
        given, true = colors_of(logits), true_colors(target)
        trust = torch.full_like(given.ab[:, :1, :1, 0], self.trust)
        if batch.belief is None:
            believed = colors_of(asked[0])
        else:
            believed = colors_believed(batch.belief)
            trust *= batch.planes[:, 3].amax((1, 2)).view(-1, 1, 1) == 0
        away = distance(given, believed)
        truth = ((1 - trust) * distance(given, true)).mean()
        taught = (trust * away).mean()
        return together({"truth": truth, "taught": taught}, shown_ab(given), sure, true, self.shown)


def main(arguments: list[str] | None = None) -> None:
    """Read the photographs and the teacher, then train from where the run stands."""
    parser = options_parser(__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the teacher's run")
    parser.add_argument("--beliefs", type=Path, help="folder that tools.beliefs wrote; the teacher is then not asked again")
    parser.add_argument("--trust", type=float, default=0.7, help="in the teacher, beside the truth (default %(default)s)")
    options = parser.parse_args(arguments)
    options.run.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    net, seen_before = student(options)
    run = Run(options, net, seen_before)
    teacher = read_believer(options.teacher).requires_grad_(requires_grad=False).to(run.device)
    data = read_data(options)
    if options.beliefs:
        data = replace(data, beliefs=read_beliefs(options.beliefs, options.photos, len(data.photos)))
    fit(run, data, Distillation(teacher, options.trust, options.shown))


if __name__ == "__main__":
    main()
