"""The rows of the table: those of arXiv:2210.02747v2, Table 1, and flow matching with the other scale of time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    key: str  # of --methods, and in folders' names
    name: str  # in tables
    config: str  # flagfile in configs/
    flags: tuple = ()  # what differs from it


METHODS = (
    Method("ddpm", "DDPM", "digits_ddpm.flags"),
    Method("sm", "Score Matching", "digits_sm.flags"),
    Method("scoreflow", "ScoreFlow", "digits_scoreflow.flags"),
    Method("vp", "FM w/ Diffusion", "digits_vp.flags"),
    Method("ot", "FM w/ OT", "digits.flags"),
    # The embedding is given time_scale * t. The configs' 1000 is guided-diffusion's; torchcfm and flow_matching have 1.
    Method("ot_time_scale_1", "FM w/ OT, time_scale 1", "digits.flags", ("--time_scale=1",)),
)
