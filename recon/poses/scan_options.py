"""Options that say how height maps are scanned, for all commands that have them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recon.poses.scan_cleaning import ScanConditions

TIP_HALF_ANGLE_DEG = 10.0


def add_scan_options(parser: argparse.ArgumentParser, has_restorer: bool = True) -> None:
    """Add the noise, the tip and the network that undoes it."""
    add = parser.add_argument_group("how views are scanned").add_argument
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
            help="weights of recon.train_scan_restorer for this tip and noise (default: those that come with the "
            "package, for 1 nm, 10 degrees and a noise of 0.3 nm)",
        )


def scan_conditions(
    noise_sigma_nm: float, tip_radius_nm: float | None, tip_half_angle_deg: float, restorer: Path | None
) -> "ScanConditions":
    """
    Return what the options say; a tip without a restorer gets the one of the package.

    Raises
    ------
    ValueError
        There is no such tip, or no restorer where one is named.
    """
    from afmsim.tip import Tip
    from recon.poses.scan_cleaning import ScanConditions

    if tip_radius_nm is None:
        return ScanConditions(noise_sigma_nm)
    from recon.poses.scan_restorer import default_restorer_path, load_restorer

    tip = Tip(tip_radius_nm, tip_half_angle_deg)
    return ScanConditions(noise_sigma_nm, tip, load_restorer(restorer or default_restorer_path()))
