"""Options that say how height maps are scanned, for all commands that have them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recon.scan_cleaning import ScanConditions

TIP_HALF_ANGLE_DEG = 10.0
TIP_RESTORER = Path(__file__).with_name("weights") / "scan_restorer_tip_1nm.pt"
"""Trained for a tip of 1 nm with a half angle of 10 degrees and noise of 0.3 nm per pixel of 224."""


def add_scan_options(parser: argparse.ArgumentParser, has_restorer: bool = True) -> None:
    """Add the noise, the tip and the network that undoes it."""
    add = parser.add_argument
    add("--noise-sigma-nm", type=float, default=0.0, help="noise added to each pixel of all views (default: none)")
    add("--tip-radius-nm", type=float, help="scan all views by a blunt tip of this radius (default: no tip)")
    add(
        "--tip-half-angle-deg",
        type=float,
        default=TIP_HALF_ANGLE_DEG,
        help="angle between the tip's axis and its side (default: %(default)s)",
    )
    if has_restorer:
        add(
            "--restorer",
            type=Path,
            default=TIP_RESTORER,
            help="weights of recon.train_scan_restorer for this tip and noise (default: those that come with the "
            "package, for 1 nm, 10 degrees and a noise of 0.3 nm)",
        )


def scan_conditions(
    noise_sigma_nm: float, tip_radius_nm: float | None, tip_half_angle_deg: float, restorer: Path | None
) -> "ScanConditions":
    """
    Return what the options say.

    Raises
    ------
    ValueError
        There is no such tip, or no restorer where one is needed.
    """
    from afmsim.tip import Tip
    from recon.scan_cleaning import ScanConditions

    if tip_radius_nm is None:
        return ScanConditions(noise_sigma_nm)
    tip = Tip(tip_radius_nm, tip_half_angle_deg)
    if restorer is None:
        return ScanConditions(noise_sigma_nm, tip)
    from recon.scan_restorer import load_restorer

    return ScanConditions(noise_sigma_nm, tip, load_restorer(restorer))
