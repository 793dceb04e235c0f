"""Configuration of the site: `sphinx-build -W --keep-going -n docs docs/_build/html`."""

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import tracknet

warnings.filterwarnings("ignore", category=DeprecationWarning)

project = "tracknet"
author = "the tracknet authors"
copyright = author
version = release = tracknet.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
    "sphinx_design",
    "mathml",
    "presets",
    "code_role",
    "colons",
    "site_pages",
]
exclude_patterns = ["_build", "_ext"]
default_role = "code_or_link"
nitpicky = True
smartquotes = False  # would make one long dash of the two before an option
suppress_warnings = [
    "sphinx_autodoc_typehints.guarded_import",  # of packages that are not installed
    "sphinx_autodoc_typehints.forward_reference",  # in classes of other packages
]

# Pages
html_theme = "furo"
html_title = f"tracknet {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# Markdown and notebooks: their outputs are those stored in the file
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True

# Docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # sphinx_autodoc_typehints writes them beside the parameters
autoclass_content = "class"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
always_use_bars_union = True
typehints_defaults = "comma"
typehints_use_rtype = True

# Other projects' pages are linked where their lists of names can be fetched: TRACKNET_DOCS_ONLINE=1.
# Offline, and for what those lists leave out, names of other packages are allowed to lead nowhere.
if os.environ.get("TRACKNET_DOCS_ONLINE"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "lightning": ("https://lightning.ai/docs/pytorch/stable", None),
        "torchmetrics": ("https://lightning.ai/docs/torchmetrics/stable", None),
        "jsonargparse": ("https://jsonargparse.readthedocs.io/en/stable", None),
    }
_OTHERS = (
    "torch|lightning|lightning_fabric|pytorch_lightning|torchmetrics|numpy|jsonargparse|av|rich|matplotlib|PIL|"
    "optuna|yaml|typing_extensions"
)
_STANDARD = "|".join(sorted(sys.stdlib_module_names - {"test"}))
nitpick_ignore_regex = [
    (r"py:.*", rf"({_OTHERS})\..+"),
    (r"py:.*", rf"({_STANDARD})(\..+)?"),
    (r"py:(class|obj|exc|data)", r"[a-z]+|Ellipsis|[A-Z]\w+(Error|Interrupt|Exit|Pruned)"),  # int, OSError
    (r"py:(class|obj)", r"tracknet\..+\.(_\w+|[A-Z])"),  # private classes and type variables have no page
]
