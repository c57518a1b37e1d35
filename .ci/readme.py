"""Write README.md from nbs/index.ipynb, with links that work at the root of the repository.

`nbdev_readme` would break its lines and leave pictures and links without their folder."""
import sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root))
from lego_nb.site import readme

(root/'README.md').write_text(readme(root/'nbs/index.ipynb'), encoding='utf-8')
