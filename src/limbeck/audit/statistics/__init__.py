"""What the numbers of an audit allow to be said: intervals over images and seeds, corrected tests, verdicts."""  # noqa: A005

from limbeck.audit.statistics.bootstrap import replicated as replicated
from limbeck.audit.statistics.corrections import CORRECTIONS as CORRECTIONS
from limbeck.audit.statistics.corrections import benjamini_hochberg as benjamini_hochberg
from limbeck.audit.statistics.corrections import holm as holm
from limbeck.audit.statistics.differences import Comparison as Comparison
from limbeck.audit.statistics.differences import compare as compare
from limbeck.audit.statistics.estimates import Estimate as Estimate
from limbeck.audit.statistics.intervals import needed as needed
from limbeck.audit.statistics.intervals import wilson as wilson
from limbeck.audit.statistics.judging import judge as judge
from limbeck.audit.statistics.verdicts import Verdict as Verdict
