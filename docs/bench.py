"""What training costs, made from the documents of `rbp bench` in docs/bench: `make results`.

python docs/bench.py          write "Measured" in docs/bench.md and README.md, and the figure
python docs/bench.py measure  first run the commands whose documents are missing, with nothing else running: hours
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from textwrap import fill
from typing import Any

from results import table

from rbp_engine.bench.measure.interleave import StepMeasurement, Turn
from rbp_engine.bench.results.comparison import BPTT, ComparisonRow
from rbp_engine.bench.results.figure import draw, title

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
PAGE = DOCS / "bench.md"
FOLDER = DOCS / "bench"
#: The documents, and the words of `rbp bench` that make them.
DOCUMENTS = {
    "resnet18": "batch=32 T=1,2,4,8 method=rate_m,rate_s,bptt --against spikingjelly,ann",
    "resnet18-recomputed": "batch=32 T=4 method=rate_m --against spikingjelly,memopt,checkpoint",
    "resnet18-bf16": "batch=32 T=4,8 train.precision=bf16 method=rate_m,bptt --against spikingjelly",
    "vgg11": "cifar10-vgg11 batch=32 T=4,8 method=rate_m,bptt --against spikingjelly",
    "spikformer": "cifar10-spikformer batch=16 T=4,8 method=rate_m,bptt --against spikingjelly",
}
TITLES = {
    "resnet18": "ResNet-18",
    "resnet18-recomputed": "ResNet-18 beside memopt and checkpoint",
    "resnet18-bf16": "ResNet-18 in bf16",
    "vgg11": "VGG-11",
    "spikformer": "Spikformer-4-384",
}
ROUNDS = 3
OURS = ("rate_m", "rate_s", "bptt")
HEADS = ("", "T", "step", "lowest to highest", "memory", "saved", "units", "time", "memory", "over floor")
FORMATS = (("eager", "NCHW"), ("compiled", "NCHW"), ("eager", "NHWC"), ("compiled", "NHWC"))


def measure() -> None:
    """Run the commands whose documents are missing."""
    for name, words in DOCUMENTS.items():
        if not path_of(name).exists():
            subprocess.run([*command(words).split(), "-o", path_of(name)], check=True)


def command(words: str) -> str:
    return f"rbp bench {words} --repeats {ROUNDS}"


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.json"


def kept() -> list[str]:
    """The names of the documents that have been measured."""
    return [name for name in DOCUMENTS if path_of(name).exists()]


def document(name: str) -> dict[str, Any]:
    """A document, whose rows are read back."""
    found = json.loads(path_of(name).read_text(encoding="utf-8"))
    return found | {"rows": [row_of(row) for row in found["rows"]]}


def row_of(row: dict[str, Any]) -> ComparisonRow:
    """A row that `ComparisonRow.as_json` wrote."""
    of_step = {field.name: row[field.name] for field in fields(StepMeasurement) if field.name in row}
    measured = StepMeasurement(**of_step | {"turns": tuple(Turn(**turn) for turn in row.get("turns", ()))})
    of_row = {field.name: row[field.name] for field in fields(ComparisonRow) if field.name in row}
    return ComparisonRow(**of_row, measured=measured)


def best(rows: Iterable[ComparisonRow]) -> list[ComparisonRow]:
    """Of each method or baseline at each T the row of the fastest step, in the rows' order."""
    fastest: dict[tuple[int, str], ComparisonRow] = {}
    for row in rows:
        known = fastest.setdefault((row.timesteps, row.method), row)
        if row.measured.seconds < known.measured.seconds:
            fastest[row.timesteps, row.method] = row
    return list(fastest.values())


def the(rows: Iterable[ComparisonRow], method: str, timesteps: int) -> ComparisonRow:
    """The fastest row of a method at a T."""
    (found,) = (row for row in best(rows) if (row.method, row.timesteps) == (method, timesteps))
    return found


def cells(row: ComparisonRow) -> list[str]:
    """A row of the table."""
    found = row.measured
    return [
        title(replace(row, kernel="" if row.method in OURS else row.kernel)),
        str(row.timesteps),
        seconds(found.seconds),
        f"{seconds(found.lowest)} to {seconds(found.highest)}{'' if found.reliable else ' †'}",
        mebibytes(found.peak),
        mebibytes(found.saved),
        f"{found.units:.1f}",
        *(f"{ratio:.2f}" for ratio in (row.time, row.memory, row.over_floor)),
    ]


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


def formats(rows: Sequence[ComparisonRow]) -> str:
    """SpikingJelly's step in each kernel and memory format, as ratios to the fastest of them."""
    peers = [row for row in rows if row.method == BPTT]
    lines = [["T", *(f"{kernel}, {layout}" for kernel, layout in FORMATS)]]
    for timesteps in dict.fromkeys(row.timesteps for row in peers):
        times = {(row.kernel, row.layout): row.time for row in peers if row.timesteps == timesteps}
        lines.append([str(timesteps), *(f"{times[one]:.2f}" for one in FORMATS)])
    return table(lines)


def section(name: str) -> str:
    """The part of docs/bench.md that tells of a document."""
    parts = [f"### {TITLES[name]}", f"    {command(DOCUMENTS[name])}"]
    found = document(name)
    fastest = best(found["rows"])
    versions = ", ".join(f"{package} {version}" for package, version in found["packages"].items())
    apart = max(row.measured.spread for row in fastest)
    parts.append(
        f"B = {found['batch']}, {found['cores']} cores ({found['processor']}), {versions}. Other programs used "
        f"{100 * found['busy']:.0f} % of the cores before it began; the rounds are up to {100 * apart:.0f} % of a step "
        "apart."
    )
    parts.append(table([HEADS, *map(cells, fastest)]))
    parts.append("SpikingJelly's time in each of its formats, over the fastest:")
    parts.append(formats(found["rows"]))
    return "\n\n".join(parts)


def figure(folder: Path = FOLDER) -> None:
    """Memory and time of ResNet-18 against T, like a figure of the paper: each method at its fastest."""
    fastest = best(document("resnet18")["rows"])
    draw([replace(row, kernel="", layout="") for row in fastest], folder / "resnet18.svg")


def page() -> str:
    """docs/bench.md with its sections of documents: from the first to the next heading of the page."""
    before, heading, rest = PAGE.read_text(encoding="utf-8").partition("### ResNet-18\n")
    _, next_heading, after = rest.partition("\n## ")
    assert heading and next_heading, f"{PAGE.name} has lost its headings"
    missing = "; ".join(TITLES[name] for name in DOCUMENTS if not path_of(name).exists())
    sections = [*map(section, kept()), *([f"Not measured yet: {missing}."] if missing else [])]
    return "\n\n".join([before.rstrip(), *sections]) + f"\n{next_heading}{after}"


def readme() -> str:
    """README.md with the paragraph that begins with **Measured.**"""
    before, mark, rest = README.read_text(encoding="utf-8").partition("**Measured.** ")
    _, blank, after = rest.partition("\n\n")
    assert mark and blank, f"{README.name} has lost its paragraph"
    return before + fill(mark + paragraph(), 120, break_long_words=False, break_on_hyphens=False) + blank + after


def paragraph() -> str:
    """What README says of the cost: of the method first, then of our own BPTT, then of the peer."""
    rows = document("resnet18")["rows"]
    apart = max(row.measured.spread for name in kept() for row in best(document(name)["rows"]))
    ours, bptt = ([the(rows, method, T).measured for T in (4, 8)] for method in ("rate_m", "bptt"))
    work = " and ".join(f"{one.units / other.units:.2f}" for one, other in zip(ours, bptt, strict=True))
    time = " and ".join(f"{one.seconds / other.seconds:.2f}" for one, other in zip(ours, bptt, strict=True))
    return (
        f"At T = 4 and 8, rate_M needs {work} of the convolutions and matrix products of BPTT, on any machine. On two "
        f"CPU cores, ResNet-18 with a batch of 32, its step takes {time} of the time of our own BPTT. Against "
        "SpikingJelly's BPTT at its best (eager or compiled, in either memory format), it takes "
        f"{against('resnet18')}; on VGG-11 {against('vgg11')}; on Spikformer-4-384 {against('spikformer')}. At T = 1 "
        f"and 2 it saves no time ({the(rows, 'rate_m', 1).time:.2f}, {the(rows, 'rate_m', 2).time:.2f}). Times are "
        f"rough: medians of three steps that are up to {100 * apart:.0f} % apart ([docs/bench.md](docs/bench.md))."
    )


def against(name: str) -> str:
    """rate_M over SpikingJelly at its best, at T = 4 and 8."""
    four, eight = (the(document(name)["rows"], "rate_m", T) for T in (4, 8))
    return f"{four.time:.2f} and {eight.time:.2f} of the time, {four.memory:.2f} and {eight.memory:.2f} of the memory"


def main(words: Sequence[str]) -> None:
    if words:
        assert list(words) == ["measure"], __doc__
        measure()
    PAGE.write_text(page(), encoding="utf-8")
    README.write_text(readme(), encoding="utf-8")
    figure()


if __name__ == "__main__":
    main(sys.argv[1:])
