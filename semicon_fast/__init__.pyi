from . import arrays as arrays
from . import centers as centers
from . import cli as cli
from . import codes as codes
from . import distributed as distributed
from . import encoding as encoding
from . import files as files
from . import native as native
from . import reference as reference
from . import report as report
from . import serve as serve
from . import torchrun as torchrun

__version__: str

from . import data as data
from . import layers as layers
from . import methods as methods
from . import metrics as metrics
from . import models as models
from . import ops as ops
from . import search as search
from . import training as training
from . import viz as viz
from .codes import convert_codes as convert_codes
from .codes import pack_codes as pack_codes
from .codes import unpack_codes as unpack_codes
from .layers import ICON as ICON
from .layers import SEM as SEM
from .models import SEMICON as SEMICON
from .models import BackboneHash as BackboneHash
from .models import DSHNet as DSHNet
from .models import ExchNet as ExchNet
from .models import SmallHashNet as SmallHashNet
from .search import HammingIndex as HammingIndex
from .search import ShardedHammingIndex as ShardedHammingIndex
from .search import rerank as rerank
