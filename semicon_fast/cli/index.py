"""`semicon-fast index`: build the search index of a gallery."""

from ..files import check_file
from ..search.gallery_files import read_about
from .common import console, print_json, say
from .options import AsJson, GalleryFolder


def index(gallery: GalleryFolder, as_json: AsJson = False) -> None:
    read_about(gallery)
    target = gallery / "index.hamming"
    check_file(target)
    from ..search.gallery import Gallery

    built = Gallery.open(gallery).build_index()
    built.save(target)
    if as_json:
        print_json({"index": str(target), "count": len(built), "bits": built.bits})
    else:
        size = f"{target.stat().st_size:,} bytes"
        say(console(False), f"{target}: {len(built):,} codes of {built.bits} bits, {size}")
