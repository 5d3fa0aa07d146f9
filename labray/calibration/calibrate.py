"""What `labray calibrate` does: measure this machine, or read what was measured, and print and write its profile."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from msgspec.structs import asdict

from labray.calibration.fitting import Check, Figures, check, fit
from labray.calibration.measuring import measured
from labray.calibration.provenance import here_and_now
from labray.costs import Profile


def calibrate(out: Path | None = None, figures: Figures | None = None) -> Profile:
    """Measure this machine unless the figures are given; print how well the profile meets them, and write it to `out`.

    Beside the profile it writes the figures (`.figures.json`), from which a profile can be fitted again.
    """
    figures = figures or measured()
    profile = fit(figures, where=where())
    for name, value in asdict(figures).items():
        click.echo(_figure(name, value))
    for row in check(figures, profile):
        click.echo(_fit(row))
    if out is None:
        click.echo(profile.to_toml(), nl=False)
        return profile
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(profile.to_toml(), encoding="utf-8")
    out.with_suffix(".figures.json").write_bytes(msgspec.json.encode(figures))
    click.echo(f"{out}: labray.init('sim', profile={str(out)!r})")
    return profile


def where() -> str:
    """What a profile says of the machine and the time that it was measured at."""
    source = here_and_now()
    return f"{source.machine}, {source.at}"


def load(path: Path) -> Figures:
    """The figures that an earlier calibration wrote. ValueError says what is wrong with them."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Figures)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ValueError(
            f"{path} is not a file of figures that `labray calibrate` wrote: {error}."
        ) from error


def _figure(name: str, value: float) -> str:
    return (
        f"{name:22} {value / 1e9:7.2f} GB/s" if name.endswith("Bps") else f"{name:22} {value * 1e6:7.1f} us"
    )


def _fit(row: Check) -> str:
    how = "fitted" if row.fitted else "not fitted"
    return f"{row.program}: measured {row.measured_s * 1e6:.1f} us, simulated {row.simulated_s * 1e6:.1f} us ({how})"
