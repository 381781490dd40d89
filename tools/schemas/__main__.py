import sys

from tools.schemas import ROOT, problems

if reports := problems(ROOT):
    sys.exit("\n".join(reports))
