"""Make the profile of this machine the one that comes with labray. `python -m experiments.calibrate --ship`.

Users have `labray calibrate`, which does the same but for `--ship`.
"""

from __future__ import annotations

from pathlib import Path

import click

from labray.calibration.calibrate import calibrate, load
from labray.costs import Profile
from labray.profiles import default

SHIPPED = Path(default.__file__)
TITLE = "The profile that comes with labray. Written by `python -m experiments.calibrate --ship`."


def ship(profile: Profile, path: Path = SHIPPED) -> None:
    """Make it the profile that comes with labray. It says itself where and when it was measured."""
    path.write_text(f'"""{TITLE}"""\n\nTOML = r"""\n{profile.to_toml()}"""\n', encoding="utf-8")


@click.command(help=__doc__)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, as TOML.")
@click.option("--figures", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Fit what was measured before (its .figures.json), and measure nothing.")  # fmt: skip
@click.option("--ship", "shipping", is_flag=True, help="Make it the default profile of this checkout.")
def main(out: Path | None, figures: Path | None, shipping: bool) -> None:
    profile = calibrate(out, None if figures is None else load(figures))
    if shipping:
        ship(profile)
        click.echo(f"{SHIPPED}: the default from now on")


if __name__ == "__main__":
    main()
