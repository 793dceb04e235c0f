"""Generated rallies: four sports, filmed as on television, with exact labels."""

from tracknet.data.generate.dataset import generate_rallies
from tracknet.data.generate.placement import RallyLayout
from tracknet.data.generate.sports import Sport

__all__ = ["RallyLayout", "Sport", "generate_rallies"]
